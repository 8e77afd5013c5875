/* SPDX-License-Identifier: MIT */
#include "tests/support/client.h"

#include <ctype.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libbus/base/text.h"
#include "tests/support/process.h"
#include "tests/support/transcript.h"

/* How long a message may take; $BUSD_TEST_PATIENCE_MS is for tests of the harness. */
#define PATIENCE_MS 10000
/* A byte is given this long to be read before the next one is sent anyway. */
#define DRIBBLE_MS 20
/* Of a long line only so much of its ends is sent byte by byte. */
#define DRIBBLE_MAX 400
#define SPLIT_MAX   24
#define READ_SIZE   65536

static uint64_t patience_end(void)
{
    const char *patience = getenv("BUSD_TEST_PATIENCE_MS");

    return process_now() + (patience ? strtoull(patience, NULL, 10) : PATIENCE_MS);
}

/* ------------------------------------------------------------- texts */

static size_t name_length(const char *text)
{
    size_t length = 0;

    while (isupper((unsigned char)text[length]) ||
           (length > 0 && isdigit((unsigned char)text[length])))
        length++;
    return length;
}

static char *expand(struct session *session, const char *text)
{
    struct text result = TEXT_INIT;

    text_append(&result, "", 0);
    while (*text) {
        size_t length = *text == '$' || *text == '@' ? name_length(text + 1) : 0;
        if (length > 0) {
            struct client *client = session_find(session, text + 1, length);
            if (!client)
                fail_msg("no client '%.*s' in: %s", (int)length, text + 1, text);
            text_append_string(&result, client->unique + (*text == '@'));
            text += 1 + length;
        } else {
            text_append(&result, *text == '\'' ? "\"" : text, 1);
            text++;
        }
    }
    return result.data;
}

char *client_expand_arguments(struct session *session, const char *format, va_list args)
{
    CLEANUP(cleanup_free) char *text = NULL;

    if (vasprintf(&text, format, args) < 0)
        abort();
    return expand(session, text);
}

char *client_expand(struct session *session, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    char *text = client_expand_arguments(session, format, args);
    va_end(args);
    return text;
}

/* ----------------------------------------------------------- sending */

long client_send_at_once(struct client *client, const void *data, size_t size, const int *fd,
                         unsigned count)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(CLIENT_FDS_MAX * sizeof(int))];
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fd, count * sizeof(int));
    }
    ssize_t n = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

/* All of a piece. A connection that the bus has ended is no failure here: what the
 * client reads will tell. */
static void send_piece(struct client *client, const char *data, size_t size, const int *fd,
                       unsigned count)
{
    uint64_t end = patience_end();

    while (size > 0 && !client->broken) {
        long n = client_send_at_once(client, data, size, fd, count);
        if (n == -EAGAIN) {
            struct pollfd wait = {.fd = client->fd, .events = POLLOUT};
            CHECK(process_now() < end, "%s cannot send: busd does not read", client->name);
            poll(&wait, 1, 100);
        } else if (n < 0) {
            CHECK(n == -EPIPE || n == -ECONNRESET, "%s cannot send: %s", client->name,
                  strerror((int)-n));
            client->broken = true;
        } else {
            data += n;
            size -= (size_t)n;
            count = 0;
        }
    }
}

static void wait_until_read(const struct client *client)
{
    uint64_t end = process_now() + DRIBBLE_MS;
    int unread;

    while (ioctl(client->fd, SIOCOUTQ, &unread) == 0 && unread > 1 && process_now() < end)
        sched_yield();
}

/* How much to send next, `sent` bytes of `size` having gone. */
static size_t piece_size(struct client *client, size_t sent, size_t size)
{
    size_t left = size - sent;

    switch (client->session->writing) {
    case WRITING_DRIBBLED:
        if (sent < DRIBBLE_MAX || left <= DRIBBLE_MAX)
            return 1;
        return left - DRIBBLE_MAX;
    case WRITING_SPLIT:
        if (sent >= DRIBBLE_MAX && left > DRIBBLE_MAX)
            return left - DRIBBLE_MAX;
        size = 1 + random_below(&client->session->random, SPLIT_MAX);
        return MIN(size, left);
    default:
        return left;
    }
}

void client_send_bytes(struct client *client, const void *data, size_t size, const int *fd,
                       unsigned count)
{
    bool dribbled = client->session->writing == WRITING_DRIBBLED;
    bool split = client->session->writing == WRITING_SPLIT;

    for (size_t sent = 0; sent < size && !client->broken;) {
        size_t piece = piece_size(client, sent, size);
        send_piece(client, (const char *)data + sent, piece, fd, sent == 0 ? count : 0);
        if (dribbled || (split && random_one_in(&client->session->random, 3)))
            wait_until_read(client);
        sent += piece;
    }
}

static void send_text(struct client *client, const int *fd, unsigned count, const char *format,
                      va_list args)
{
    CLEANUP(cleanup_free)
    char *text = client_expand_arguments(client->session, format, args);
    size_t size = strlen(text);

    text[size] = '\n';
    client_send_bytes(client, text, size + 1, fd, count);
}

void client_pour(struct client *client, const char *data, size_t size)
{
    static char ignored[1 << 18];

    while (size > 0) {
        struct pollfd wait = {.fd = client->fd, .events = POLLIN | POLLOUT};
        CHECK(poll(&wait, 1, PATIENCE_MS) > 0, "%s cannot send: busd does not read", client->name);
        if (wait.revents & POLLIN && recv(client->fd, ignored, sizeof(ignored), MSG_DONTWAIT) == 0)
            fail_msg("%s was disconnected", client->name);
        if (!(wait.revents & POLLOUT))
            continue;
        long n = client_send_at_once(client, data, size, NULL, 0);
        CHECK(n > 0, "%s cannot send: %s", client->name, strerror((int)-n));
        data += n;
        size -= (size_t)n;
    }
}

void client_send(struct client *client, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    send_text(client, NULL, 0, format, args);
    va_end(args);
}

void client_send_fds(struct client *client, const int *fd, unsigned count, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    send_text(client, fd, count, format, args);
    va_end(args);
}

/* --------------------------------------------------------- receiving */

void message_free(struct message *message)
{
    if (!message)
        return;
    list_remove(&message->link);
    for (unsigned i = 0; i < message->count; i++)
        close(message->fd[i]);
    json_decref(message->json);
    free(message->line);
    free(message);
}

static struct message *message_new(void)
{
    struct message *message = calloc(1, sizeof(*message));

    if (!message)
        abort();
    list_init(&message->link);
    return message;
}

/* Keeps the fds of one read apart as a batch. */
static void take_batch(struct client *client, struct msghdr *header)
{
    struct message *batch = message_new();

    list_append(&client->batches, &batch->link);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        batch->count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(batch->fd, CMSG_DATA(c), batch->count * sizeof(int));
    }
    CHECK(!(header->msg_flags & MSG_CTRUNC), "%s: file descriptors were cut off", client->name);
    if (batch->count == 0)
        message_free(batch);
}

/* The batch of a message that declares fds becomes its own. */
static void claim_batch(struct client *client, struct message *message)
{
    json_int_t declared = json_integer_value(json_object_get(message->json, "fds"));
    struct message *batch = LIST_ENTRY(list_first(&client->batches), struct message, link);

    if (declared == 0)
        return;
    CHECK(batch, "%s: %d fds declared, none came: %s", client->name, (int)declared, message->line);
    CHECK(batch->count == declared, "%s: %d fds declared, %u came: %s", client->name, (int)declared,
          batch->count, message->line);
    message->count = batch->count;
    memcpy(message->fd, batch->fd, batch->count * sizeof(int));
    batch->count = 0;
    message_free(batch);
}

static bool is_barrier_id(const json_t *message)
{
    return json_integer_value(json_object_get(message, "id")) >= (json_int_t)CLIENT_BARRIER_ID;
}

/* What a monitor sees of the harness's own barriers is not for the transcript. */
static bool is_barrier_seen(const json_t *json)
{
    const char *topic = json_string_value(json_object_get(json, "topic"));

    return topic && strcmp(topic, "bus.monitor") == 0 &&
           is_barrier_id(json_object_get(json_object_get(json, "body"), "message"));
}

static void take_line(struct client *client, const char *line, size_t size)
{
    struct message *message = message_new();
    json_error_t error;

    list_append(&client->messages, &message->link);
    message->line = strndup(line, size);
    message->size = size;
    message->json = json_loadb(line, size, JSON_ALLOW_NUL, &error);
    /* Integers that only a body may hold. */
    if (!message->json && json_error_code(&error) == json_error_numeric_overflow)
        message->json = json_loadb(line, size, JSON_DECODE_INT_AS_REAL, &error);
    CHECK(message->json, "%s: got a line that is no JSON object (%s): %s", client->name, error.text,
          message->line);
    claim_batch(client, message);
    if (is_barrier_seen(message->json))
        message_free(message);
}

/* Reads once. False when nothing was there. */
static bool read_once(struct client *client)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(CLIENT_FDS_MAX * sizeof(int))];
    } control;

    if (client->capacity - client->size < READ_SIZE) {
        client->capacity = client->capacity * 2 + READ_SIZE;
        client->buffer = realloc(client->buffer, client->capacity);
    }
    struct iovec iov = {client->buffer + client->size, READ_SIZE};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(client->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        client->ended = true;
        return true;
    }
    take_batch(client, &header);
    client->size += (size_t)n;

    char *start = client->buffer, *end = client->buffer + client->size, *lf;
    /* Only the new bytes can hold the first LF. */
    for (char *from = end - n; (lf = memchr(from, '\n', (size_t)(end - from))); from = lf + 1) {
        take_line(client, start, (size_t)(lf - start));
        start = lf + 1;
    }
    client->size = (size_t)(end - start);
    memmove(client->buffer, start, client->size);
    return true;
}

void client_read_available(struct client *client)
{
    while (!client->ended && read_once(client))
        continue;
}

/* Waits for more. Fails the test if nothing comes. */
void client_read_more(struct client *client, const char *wanted)
{
    uint64_t end = patience_end();

    for (;;) {
        struct pollfd wait = {.fd = client->fd, .events = POLLIN};
        if (client->ended || read_once(client))
            return;
        CHECK(process_now() < end, "%s waits in vain for: %s", client->name, wanted);
        poll(&wait, 1, 100);
    }
}

struct message *client_peek(const struct client *client)
{
    return LIST_ENTRY(list_first(&client->messages), struct message, link);
}

/* Takes the next message out; NULL at the end. */
struct message *client_wait(struct client *client, const char *wanted)
{
    CHECK(client->fd >= 0 || client_peek(client), "%s is closed; wanted: %s", client->name, wanted);
    while (!client_peek(client) && !client->ended)
        client_read_more(client, wanted);
    struct message *message = client_peek(client);
    if (message)
        list_remove(&message->link);
    return message;
}

struct message *client_next(struct client *client)
{
    return client_wait(client, "any message");
}

/* ---------------------------------------------------------- lifetime */

static void free_messages(struct list *list)
{
    LIST_FOREACH_SAFE (node, list)
        message_free(LIST_ENTRY(node, struct message, link));
}

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

void client_free(struct client *client)
{
    client_close(client);
    list_remove(&client->link);
    free_messages(&client->messages);
    free_messages(&client->batches);
    free(client->buffer);
    free(client);
}
