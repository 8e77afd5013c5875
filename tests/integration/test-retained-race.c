/* SPDX-License-Identifier: MIT */
/*
 * A publisher changes values as fast as it can while a thousand subscriptions come and go
 * on several connections: what each of them sees, first the values and then the events,
 * is a piece of the publisher's history, without a gap and without a double.
 */
#include <stdio.h>
#include <string.h>

#include "tests/support/history.h"
#include "tests/support/transcript.h"

#define CLIENTS       8
#define SUBSCRIPTIONS 1000
#define PER_CLIENT    6
/* Steps that the publisher may be ahead of the slowest. */
#define AHEAD 8

/* One connection with what it has subscribed to. */
struct listener {
    struct client *client;
    struct view view;
    struct {
        unsigned id; /* 0: none */
        unsigned topics;
    } subscriptions[PER_CLIENT];
    uint64_t asked;  /* the id of the call that waits for its answer; 0: none */
    unsigned place;  /* … what it is about … */
    unsigned topics; /* … and the topics of its pattern, 0 for Unsubscribe */
    unsigned values; /* last values still to come */
};

static struct {
    struct listener listeners[CLIENTS];
    struct random *random;
    unsigned subscriptions;
    uint64_t snapshots; /* values that came in them */
} race;

static unsigned topics_of(const struct listener *listener)
{
    unsigned topics = 0;

    for (unsigned i = 0; i < PER_CLIENT; i++)
        if (listener->subscriptions[i].id > 0)
            topics |= listener->subscriptions[i].topics;
    return topics;
}

/* Subscribes at a free place, or ends what is there. */
static void ask(struct listener *listener)
{
    static const char *const all[] = {"h.*", "h.#", "*.*"};
    unsigned place = random_below(race.random, PER_CLIENT);
    unsigned id = listener->subscriptions[place].id;
    unsigned topic = random_below(race.random, HISTORY_TOPICS);

    listener->asked = listener->client->next_id++;
    listener->place = place;
    listener->topics = 0;
    if (id > 0) {
        client_send(listener->client,
                    "{'type':'call','id':%llu,'to':'bus','method':'Unsubscribe',"
                    "'body':{'subscription':%u}}",
                    (unsigned long long)listener->asked, id);
        return;
    }
    race.subscriptions++;
    if (random_one_in(race.random, 2)) {
        listener->topics = 1u << topic;
        client_send(listener->client,
                    "{'type':'call','id':%llu,'to':'bus','method':'Subscribe',"
                    "'body':{'topic':'h.%u'}}",
                    (unsigned long long)listener->asked, topic);
    } else {
        listener->topics = (1u << HISTORY_TOPICS) - 1;
        client_send(listener->client,
                    "{'type':'call','id':%llu,'to':'bus','method':'Subscribe',"
                    "'body':{'topic':'%s'}}",
                    (unsigned long long)listener->asked, all[topic % ARRAY_SIZE(all)]);
    }
}

static void take_answer(struct listener *listener, const json_t *body)
{
    unsigned before = topics_of(listener);

    listener->asked = 0;
    if (listener->topics == 0) {
        listener->subscriptions[listener->place].id = 0;
        unsigned gone = before & ~topics_of(listener);
        for (unsigned topic = 0; topic < HISTORY_TOPICS; topic++)
            if (gone & 1u << topic)
                view_forget(&listener->view, topic);
        return;
    }
    listener->subscriptions[listener->place].id =
        (unsigned)json_integer_value(json_object_get(body, "subscription"));
    listener->subscriptions[listener->place].topics = listener->topics;
    listener->values = (unsigned)json_integer_value(json_object_get(body, "retained"));
    race.snapshots += listener->values;
    view_begin(&listener->view, listener->topics);
    if (listener->values == 0)
        view_end(&listener->view);
}

static void take_event(struct listener *listener, const json_t *event)
{
    const char *topic = json_string_value(json_object_get(event, "topic"));
    bool retained = json_is_true(json_object_get(event, "retained"));
    uint64_t n = (uint64_t)json_integer_value(json_object_get(event, "n"));
    unsigned number;

    CHECK(topic && sscanf(topic, "h.%u", &number) == 1 && number < HISTORY_TOPICS,
          "an event of '%s'", topic ? topic : "nothing");
    CHECK(retained == (listener->values > 0), "%u values are to come", listener->values);
    if (!retained) {
        view_event(&listener->view, number, n);
        return;
    }
    view_value(&listener->view, number, n);
    if (--listener->values == 0)
        view_end(&listener->view);
}

static void take(struct listener *listener, const json_t *message)
{
    json_int_t id = json_integer_value(json_object_get(message, "id"));

    if (listener->asked > 0 && id == (json_int_t)listener->asked)
        take_answer(listener, json_object_get(message, "body"));
    else
        take_event(listener, message);
}

/* Takes in what there is, in order. */
static void listen(struct listener *listener)
{
    client_read_available(listener->client);
    while (client_peek(listener->client)) {
        struct message *message = client_next(listener->client);
        take(listener, message->json);
        message_free(message);
    }
}

/* Nothing more is published: takes in what is still to come. */
static void finish(struct listener *listener)
{
    uint64_t id = listener->client->next_id++;
    bool done = false;

    client_send(listener->client, "{'type':'call','id':%llu,'to':'bus','method':'Ping'}",
                (unsigned long long)id);
    while (!done) {
        struct message *message = client_next(listener->client);
        done = json_integer_value(json_object_get(message->json, "id")) == (json_int_t)id;
        if (!done)
            take(listener, message->json);
        message_free(message);
    }
    assert_int_equal(listener->asked, 0);
    assert_int_equal(listener->values, 0);
}

/* The n that the slowest has seen of what it listens to; 0 while nobody has seen anything. */
static uint64_t slowest(void)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < CLIENTS; i++)
        for (unsigned topic = 0; topic < HISTORY_TOPICS; topic++)
            if (race.listeners[i].view.known[topic] && race.listeners[i].view.last[topic] > 0)
                least = MIN(least, race.listeners[i].view.last[topic]);
    return least < UINT64_MAX ? least : 0;
}

/* Lets the publisher be so far ahead of that, at most; and no further, but for a little,
 * when there is nothing to be seen until it has gone on. */
static void allow(struct history *history, uint64_t *steps, uint64_t *at)
{
    uint64_t now = slowest();
    uint64_t may = *at * HISTORY_TOPICS / HISTORY_STEP + 2 * AHEAD;

    if (now > 0) {
        *at = now;
        may = now * HISTORY_TOPICS / HISTORY_STEP + AHEAD;
    } else {
        may = MIN(may, *steps + 1);
    }
    if (may > *steps) {
        history_allow(history, (unsigned)(may - *steps));
        *steps = may;
    }
}

static void test_race(struct session *session)
{
    struct history history;
    uint64_t steps = AHEAD, at = 0, seen = 0;

    memset(&race, 0, sizeof(race));
    race.random = &session->random;
    for (unsigned i = 0; i < CLIENTS; i++) {
        char name[8];
        snprintf(name, sizeof(name), "C%u", i);
        race.listeners[i].client = session_connect(session, name);
    }
    history_begin(&history, session->busd.path);
    history_allow(&history, AHEAD);
    while (race.subscriptions < SUBSCRIPTIONS) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            listen(&race.listeners[i]);
            if (race.listeners[i].asked == 0 && race.listeners[i].values == 0)
                ask(&race.listeners[i]);
        }
        allow(&history, &steps, &at);
    }
    history_end(&history);
    session_wait_for_connections(session, session_connect(session, "P"), CLIENTS + 1);
    for (unsigned i = 0; i < CLIENTS; i++) {
        finish(&race.listeners[i]);
        seen += race.listeners[i].view.seen;
    }
    print_message("%u subscriptions, %llu values in snapshots, %llu values and events in all\n",
                  race.subscriptions, (unsigned long long)race.snapshots, (unsigned long long)seen);
    assert_true(race.snapshots > SUBSCRIPTIONS && seen > 10 * race.snapshots);
}

static const struct transcript transcripts[] = {TRANSCRIPT_PLAIN(test_race)};

int main(void)
{
    return TRANSCRIPTS_RUN("retained-race", transcripts);
}
