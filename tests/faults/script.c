/* SPDX-License-Identifier: MIT */
#include "tests/faults/script.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"
#include "tests/support/busd.h"

#define NAME "org.example.Name"

static char state[] = "/tmp/busd-faults-state-XXXXXX";

const char *const script_args[] = {"--config", FAULTS_CONFIG, "--state", state, NULL};

struct actor *script_bystander(struct world *world)
{
    struct actor *z = world_connect(world, "bystander");

    actor_call(z, "bus", "Ping", "%s", "");
    world_step(world);
    return z;
}

/* Everybody does what there is to be done, and the bystander's call is answered. */
static void step(struct world *world, struct actor *bystander)
{
    actor_call(bystander, "bus", "Ping", ",'body':{}");
    world_step(world);
}

/* The actors of the script, by what they do most. */
struct cast {
    struct world *world;
    struct actor *bystander;
    struct actor *service;
    struct actor *second;
    struct actor *client;
    struct actor *monitor;
    struct actor *slow;
};

static void do_subscriptions(struct cast *cast)
{
    actor_subscribe(cast->service, "t.");
    actor_subscribe(cast->second, "t.a.");
    actor_call(cast->second, "bus", "Subscribe", ",'body':{'topic':'*.x.y','sender':'" NAME "'}");
    step(cast->world, cast->bystander);
    /* One who counts no events: what is lost of these would be counted, too. */
    actor_call(cast->client, "bus", "Subscribe", ",'body':{'topic':'bus.name.#'}");
    actor_call(cast->client, "bus", "Subscribe", ",'body':{'topic':'bus.peer.#'}");
    step(cast->world, cast->bystander);
    actor_call(cast->second, "bus", "Unsubscribe", ",'body':{'subscription':2}");
    actor_call(cast->second, "bus", "Unsubscribe", ",'body':{'subscription':99}");
    actor_call(cast->second, "bus", "Subscribe", ",'body':{'topic':'*.x.y','sender':'" NAME "'}");
    step(cast->world, cast->bystander);
}

static void do_names(struct cast *cast)
{
    actor_call(cast->client, "bus", "RequestName",
               ",'body':{'name':'" NAME "','allow_replacement':true,'queue':true}");
    step(cast->world, cast->bystander);
    actor_call(cast->second, "bus", "RequestName", ",'body':{'name':'" NAME "'}");
    actor_call(cast->second, "bus", "RequestName", ",'body':{'name':'" NAME "','queue':true}");
    step(cast->world, cast->bystander);
    actor_call(cast->service, "bus", "RequestName", ",'body':{'name':'" NAME "','replace':true}");
    step(cast->world, cast->bystander);
    actor_call(cast->client, "bus", "GetName", ",'body':{'name':'" NAME "'}");
    actor_call(cast->client, "bus", "ReleaseName", ",'body':{'name':'" NAME "'}");
    actor_call(cast->client, "bus", "ReleaseName", ",'body':{'name':'org.example.Other'}");
    actor_call(cast->client, "bus", "RequestName", ",'body':{'name':'not a name'}");
    step(cast->world, cast->bystander);
    actor_send(cast->client, "{'type':'event','topic':'" NAME ".guarded'}");
    actor_send(cast->service, "{'type':'event','topic':'" NAME ".guarded'}");
    step(cast->world, cast->bystander);
}

static void do_calls(struct cast *cast)
{
    actor_call(cast->client, NAME, "Echo", ",'body':{'a':[1,2,3]}");
    actor_call(cast->client, NAME, "Fail", "%s", "");
    actor_call(cast->client, cast->service->unique[0] ? cast->service->unique : ":1", "Echo", "%s",
               "");
    actor_call(cast->client, "org.example.Nobody", "Echo", "%s", "");
    step(cast->world, cast->bystander);
    actor_send(cast->client, "{'type':'call','to':'" NAME "','method':'Echo','no_reply':true}");
    actor_call(cast->client, NAME, "Never", ",'timeout':5");
    uint64_t id = actor_call(cast->second, NAME, "Never", "%s", "");
    actor_send(cast->second, "{'type':'cancel','to':'" NAME "','id':%" PRIu64 "}", id);
    actor_send(cast->second, "{'type':'cancel','to':'" NAME "','id':%" PRIu64 "}", id);
    actor_send(cast->second, "{'type':'reply','to':':1','id':123456}");
    step(cast->world, cast->bystander);
}

static void do_events(struct cast *cast)
{
    for (unsigned i = 0; i < 6; i++)
        actor_publish(cast->client, i % 2 ? "t.a.b" : "t.b", 20, 0);
    actor_send(cast->service, "{'type':'event','topic':'e.x.y'}");
    actor_send(cast->client, "{'type':'event','topic':'e.x.y'}");
    step(cast->world, cast->bystander);
    actor_send(cast->client, "{'type':'event','topic':'to.one','to':'" NAME "'}");
    actor_send(cast->client, "{'type':'event','topic':'to.one','to':'org.example.Nobody'}");
    actor_send(cast->client, "{'type':'event','topic':'bus.mine'}");
    step(cast->world, cast->bystander);
}

static void do_values(struct cast *cast)
{
    actor_call(cast->client, "bus", "Subscribe", ",'body':{'topic':'bus.subscribers.v.a'}");
    actor_send(cast->second, "{'type':'event','topic':'v.a','retain':'connection','body':1}");
    actor_send(cast->second, "{'type':'event','topic':'v.b','retain':'bus','body':2}");
    actor_send(cast->second, "{'type':'event','topic':'v.c','retain':'disk','ttl':5,'body':3}");
    step(cast->world, cast->bystander);
    actor_call(cast->client, "bus", "Subscribe", ",'body':{'topic':'v.#'}");
    actor_call(cast->client, "bus", "Retained", ",'body':{'topic':'#'}");
    step(cast->world, cast->bystander);
    actor_send(cast->second, "{'type':'event','topic':'v.b','retain':'bus','body':'new'}");
    actor_send(cast->service, "{'type':'event','topic':'v.a','retain':'connection','body':4}");
    actor_send(cast->service, "{'type':'event','topic':'v.d','retain':'bus','body':5}");
    actor_send(cast->service, "{'type':'event','topic':'v.d','retain':'bus'}");
    actor_call(cast->client, "bus", "Subscribe", ",'body':{'topic':'v.*','retained':'only'}");
    step(cast->world, cast->bystander);
}

static void do_fds(struct cast *cast)
{
    /* One with fds, by hand, and one that is answered with some. */
    actor_call(cast->client, NAME, "Fds", "%s", "");
    actor_send_fds(cast->client, 2,
                   "{'type':'call','no_reply':true,'to':'" NAME "','method':'Echo','fds':2}");
    actor_call(cast->client, "bus", "GetCredentials", ",'body':{'name':'" NAME "'}");
    step(cast->world, cast->bystander);
    actor_publish(cast->client, "t.a.fds", 10, 2);
    step(cast->world, cast->bystander);
    /* The receiver does not read: the second one has to wait in the queue. */
    cast->second->deaf = true;
    for (unsigned i = 0; i < 3; i++)
        actor_publish(cast->client, "t.a.fds", 10, 1);
    step(cast->world, cast->bystander);
    cast->second->deaf = false;
    step(cast->world, cast->bystander);
}

static void do_monitoring(struct cast *cast)
{
    cast->monitor = world_connect(cast->world, "monitor");
    actor_call(cast->monitor, "bus", "Monitor", ",'body':{}");
    actor_call(cast->monitor, "bus", "Monitor", ",'body':{'type':'call','to':'" NAME "'}");
    step(cast->world, cast->bystander);
    actor_call(cast->client, NAME, "Echo", "%s", "");
    actor_publish(cast->client, "t.a.watched", 10, 0);
    actor_send(cast->client, "{'type':'event','topic':'nobody.listens'}");
    step(cast->world, cast->bystander);
}

static void do_questions(struct cast *cast)
{
    static const char *const methods[] = {"Stats", "ListNames", "Introspect", "GetId", "Nonsense"};

    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        actor_call(cast->client, "bus", methods[i], "%s", "");
    actor_call(cast->client, "bus", "Stats", ",'body':{'name':'" NAME "'}");
    actor_call(cast->client, "bus", "GetCredentials", ",'body':{'name':'" NAME "'}");
    actor_call(cast->client, "bus", "Ping", ",'body':{'nonsense':1}");
    actor_call(cast->client, "bus", "GetName", ",'body':{'name':1}");
    actor_call(cast->client, "bus", "GetName", ",'body':[]");
    step(cast->world, cast->bystander);
}

static void do_policy(struct cast *cast)
{
    actor_call(cast->client, "bus", "Explain", ",'body':{'verb':'publish','topic':'denied.topic'}");
    actor_call(cast->client, "bus", "Explain",
               ",'body':{'verb':'own','name':'org.example.Name','uid':1,'gids':[1,2]}");
    actor_call(cast->client, "bus", "RequestName", ",'body':{'name':'org.example.Denied.X'}");
    actor_send(cast->client, "{'type':'event','topic':'denied.topic'}");
    step(cast->world, cast->bystander);
    actor_call(cast->client, "bus", "Reload", "%s", "");
    step(cast->world, cast->bystander);
    actor_call(cast->client, NAME, "Echo", "%s", "");
    actor_publish(cast->client, "t.a.reloaded", 10, 0);
    step(cast->world, cast->bystander);
}

static void do_lines(struct cast *cast)
{
    static char line[300000];

    actor_send(cast->second, "nonsense");
    actor_send(cast->second, "{'type':'event','topic':'a','sender':'me'}");
    actor_send(cast->second, "{'type':'event','topic':'a','fds':0}");
    actor_send(cast->second, "   ");
    step(cast->world, cast->bystander);
    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    actor_send_bytes(cast->second, line, sizeof(line), 0);
    step(cast->world, cast->bystander);

    /* A long one that comes in pieces, with others in between. */
    static const char head[] = "{\"type\":\"event\",\"topic\":\"t.c\",\"body\":\"";
    static const char tail[] = "\"}\n";
    actor_send_bytes(cast->second, head, sizeof(head) - 1, 0);
    for (unsigned i = 0; i < 9; i++) {
        actor_send_bytes(cast->second, line, 12000, 0);
        step(cast->world, cast->bystander);
    }
    actor_send_bytes(cast->second, tail, sizeof(tail) - 1, 0);
    actor_publish(cast->client, "t.a.long", 100000, 0);
    step(cast->world, cast->bystander);
}

static void do_overflow(struct cast *cast)
{
    cast->slow = world_connect(cast->world, "slow");
    actor_subscribe(cast->slow, "big.");
    step(cast->world, cast->bystander);
    cast->slow->deaf = true;
    for (unsigned i = 0; i < 12; i++)
        actor_publish(cast->client, i % 2 ? "big.a" : "big.b", 60000, 0);
    actor_call(cast->client, cast->slow->unique[0] ? cast->slow->unique : ":1", "Echo", "%s", "");
    cast->slow->deaf = false;
    step(cast->world, cast->bystander);
    actor_call(cast->slow, "bus", "Ping", "%s", "");
    step(cast->world, cast->bystander);
}

/* Receipts that wait for one who does not read, and events that give way to newer ones. */
static void do_receipts(struct cast *cast)
{
    struct actor *reader = world_connect(cast->world, "reader");

    actor_call(reader, "bus", "Subscribe", ",'body':{'topic':'r.#'}");
    actor_call(reader, "bus", "Subscribe", ",'body':{'topic':'l.*','overflow':'latest'}");
    step(cast->world, cast->bystander);
    actor_publish_asking(cast->client, "r.nobody.waits", 10);
    actor_publish_asking(cast->client, "denied.topic", 10);
    step(cast->world, cast->bystander);
    reader->deaf = true;
    for (unsigned i = 0; i < 6; i++)
        actor_publish_asking(cast->client, "r.a", 60000);
    for (unsigned i = 0; i < 8; i++)
        actor_send(cast->client, "{'type':'event','topic':'l.%s','body':%u}", i % 2 ? "a" : "b", i);
    reader->deaf = false;
    step(cast->world, cast->bystander);
    /* Who is waited for goes. */
    reader->deaf = true;
    for (unsigned i = 0; i < 6; i++)
        actor_publish_asking(cast->second, "r.a", 60000);
    for (unsigned i = 0; i < 2; i++)
        actor_send(cast->client, "{'type':'event','topic':'l.a','body':%u}", i);
    actor_leave(reader);
    step(cast->world, cast->bystander);
}

static void do_departures(struct cast *cast)
{
    struct world *world = cast->world;

    /* With half a line and its fds; with calls in both directions; unread. */
    struct actor *gone = world_connect(world, "gone");
    actor_send_bytes(gone, "{\"type\":\"event\",\"fds\":2,", 24, 2);
    step(world, cast->bystander);
    actor_leave(gone);
    actor_call(cast->client, NAME, "Never", ",'timeout':300");
    actor_call(cast->service, cast->second->unique[0] ? cast->second->unique : ":1", "Never",
               ",'timeout':0");
    actor_call(cast->service, "bus", "Ping", "%s", "");
    actor_leave(cast->service);
    step(world, cast->bystander);
    cast->monitor->deaf = true;
    actor_publish(cast->client, "t.a.last", 5000, 0);
    actor_leave(cast->monitor);
    step(world, cast->bystander);
}

/* Values for the disk: new ones, newer ones, one that is cleared. */
static void do_disk(struct cast *cast)
{
    struct world *world = cast->world;

    actor_keep(cast->client, "disk.a", "1");
    actor_keep(cast->client, "disk.b", "[2,3]");
    actor_send(cast->client, "{'type':'event','topic':'disk.c','retain':'disk','body':4}");
    step(world, cast->bystander);
    actor_keep(cast->client, "disk.a", "5");
    actor_keep(cast->second, "disk.b", "null");
    actor_send(cast->client, "{'type':'event','topic':'disk.a','retain':'bus','body':6}");
    step(world, cast->bystander);
}

void script_run(struct world *world, struct actor *bystander)
{
    struct cast cast = {.world = world, .bystander = bystander};

    cast.service = world_connect(world, "service");
    cast.second = world_connect(world, "second");
    cast.client = world_connect(world, "client");
    step(world, bystander);
    do_subscriptions(&cast);
    do_names(&cast);
    do_calls(&cast);
    do_events(&cast);
    do_disk(&cast);
    do_values(&cast);
    do_fds(&cast);
    do_monitoring(&cast);
    do_questions(&cast);
    do_policy(&cast);
    do_lines(&cast);
    do_overflow(&cast);
    do_receipts(&cast);
    do_departures(&cast);
}

void script_round_trip(struct world *world)
{
    struct actor *service = world_connect(world, "new service");
    struct actor *client = world_connect(world, "new client");

    actor_call(service, "bus", "RequestName", ",'body':{'name':'org.example.New'}");
    actor_subscribe(service, "new.");
    world_step(world);
    actor_call(client, "org.example.New", "Echo", "%s", "");
    actor_call(client, "org.example.New", "Fds", "%s", "");
    actor_publish(client, "new.topic", 10, 1);
    world_settle(world);
    if (service->lost || client->lost)
        world_complain(world, "a new client is cut");
    else if (service->errors + client->errors > 0)
        world_complain(world, "a new client's call fails");
    else if (service->seen != 1)
        world_complain(world, "a new subscriber gets no events");
}

/* --------------------------------------------------------- state folder */

bool script_make_state(void)
{
    struct world world;
    struct busd busd;

    if (!mkdtemp(state) || busd_start(&busd, script_args) < 0)
        return false;
    world_init(&world, busd.path, 5000);
    struct actor *actor = world_connect(&world, "keeper");
    actor_keep(actor, "disk.before", "'there'");
    bool kept = world_step(&world) && actor->errors == 0;
    world_deinit(&world);
    return busd_stop(&busd) == 0 && kept;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    return remove(path);
}

void script_remove_state(void)
{
    nftw(state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
