/* SPDX-License-Identifier: MIT */
/*
 * The half of tests/support/client.h that says what is expected.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/client.h"
#include "tests/support/json.h"
#include "tests/support/transcript.h"

/* Puts a message back so that it is freed with the client, and fails. */
static _Noreturn void fail_expectation(struct client *client, struct message *message,
                                       const char *expected, const char *why)
{
    print_error("%s expected: %s\n%s got:      %s\n%s\n", client->name, expected, client->name,
                message->line, why);
    list_prepend(&client->messages, &message->link);
    fail();
    abort();
}

static struct message *expect_text(struct client *client, const char *expected, unsigned fds)
{
    json_error_t error;
    json_t *json = json_loads(expected, JSON_REJECT_DUPLICATES, &error);
    char why[1024] = "";

    CHECK(json, "the expected text is no JSON (%s): %s", error.text, expected);
    if (fds > 0)
        json_object_set_new(json, "fds", json_integer(fds));
    struct message *message = client_wait(client, expected);
    if (!message) {
        json_decref(json);
        fail_msg("%s expected: %s\nbut the connection has ended", client->name, expected);
    }
    bool same = json_matches(json, message->json, why, sizeof(why));
    json_decref(json);
    if (!same)
        fail_expectation(client, message, expected, why);
    if (message->count != fds)
        fail_expectation(client, message, expected, "with another number of file descriptors");
    return message;
}

void client_expect(struct client *client, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    CLEANUP(cleanup_free) char *expected = client_expand_arguments(client->session, format, args);
    va_end(args);
    message_free(expect_text(client, expected, 0));
}

void client_expect_line(struct client *client, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    CLEANUP(cleanup_free) char *expected = client_expand_arguments(client->session, format, args);
    va_end(args);
    struct message *message = client_wait(client, expected);
    CHECK(message, "%s expected: %s\nbut the connection has ended", client->name, expected);
    if (message->size != strlen(expected) || memcmp(message->line, expected, message->size) != 0)
        fail_expectation(client, message, expected, "not the same bytes");
    message_free(message);
}

void client_expect_fds(struct client *client, int *ret_fd, unsigned count, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    CLEANUP(cleanup_free) char *expected = client_expand_arguments(client->session, format, args);
    va_end(args);
    struct message *message = expect_text(client, expected, count);
    memcpy(ret_fd, message->fd, count * sizeof(int));
    message->count = 0;
    message_free(message);
}

void client_expect_error(struct client *client, uint64_t id, const char *error)
{
    client_expect(client, "{'sender':'bus','type':'error','id':%llu,'error':'%s','message':'*'}",
                  (unsigned long long)id, error);
}

static void expect_complaint(struct client *client, const char *error, const char *offset,
                             const char *about)
{
    CLEANUP(cleanup_free)
    char *expected = client_expand(
        client->session, "{'sender':'bus','type':'error','error':'%s','message':'*',%s'about':%s}",
        error, offset, about);
    message_free(expect_text(client, expected, 0));
}

void client_expect_complaint(struct client *client, const char *error, const char *about, ...)
{
    va_list args;

    va_start(args, about);
    CLEANUP(cleanup_free) char *text = client_expand_arguments(client->session, about, args);
    va_end(args);
    expect_complaint(client, error, "'...':0,", text);
}

void client_expect_complaint_at(struct client *client, const char *error, size_t offset,
                                const char *about)
{
    char text[32];

    snprintf(text, sizeof(text), "'offset':%zu,", offset);
    expect_complaint(client, error, text, about);
}

void client_expect_nothing(struct client *client)
{
    session_settle(client->session);
    struct message *message = client_peek(client);
    if (message)
        fail_msg("%s got what was not expected: %s", client->name, message->line);
}

void client_expect_end(struct client *client)
{
    while (!client->ended && !client_peek(client))
        client_read_more(client, "the end of the connection");
    struct message *message = client_peek(client);
    if (message)
        fail_msg("%s expected the end, got: %s", client->name, message->line);
    CHECK(client->size == 0, "%s: the connection ended inside of a line", client->name);
    client_close(client);
}

void client_expect_goodbye(struct client *client, const char *reason)
{
    struct message *message =
        expect_text(client,
                    "{\"sender\":\"bus\",\"type\":\"error\",\"error\":\"bus.Disconnected\","
                    "\"message\":\"*\"}",
                    0);
    const char *said = json_string_value(json_object_get(message->json, "message"));
    bool right = said && strstr(said, reason);

    if (!right)
        print_error("it was to say '%s', and said '%s'\n", reason, said ? said : "nothing");
    message_free(message);
    assert_true(right);
    client_expect_end(client);
}

/* ------------------------------------------------------------ asking */

static uint64_t ask(struct client *client, const char *method, const char *body)
{
    uint64_t id = client->next_id++;

    client_send(client, "{'type':'call','id':%llu,'to':'bus','method':'%s','body':%s}",
                (unsigned long long)id, method, body);
    return id;
}

void client_ask(struct client *client, const char *method, const char *body, const char *expected)
{
    uint64_t id = ask(client, method, body);

    client_expect(client, "{'sender':'bus','type':'reply','id':%llu,'body':%s}",
                  (unsigned long long)id, expected);
}

void client_ask_error(struct client *client, const char *method, const char *body,
                      const char *error)
{
    client_expect_error(client, ask(client, method, body), error);
}

json_t *client_ask_json(struct client *client, const char *method, const char *body)
{
    uint64_t id = ask(client, method, body);
    CLEANUP(cleanup_free)
    char *expected =
        client_expand(client->session, "{'sender':'bus','type':'reply','id':%llu,'body':'*'}",
                      (unsigned long long)id);
    struct message *message = expect_text(client, expected, 0);
    json_t *result = json_incref(json_object_get(message->json, "body"));

    message_free(message);
    return result;
}
