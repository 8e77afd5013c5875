/* SPDX-License-Identifier: MIT */
/*
 * The address book service: owns org.example.AddressBook.
 *
 *     address-book-server [FILE]
 *
 * One process holds the book, any number of clients attach to it by name. Every
 * change is on the disk before it is answered, and is then published as an event
 * below the service's name, where nobody else can publish. So the process may be
 * killed at any moment and needs no goodbye.
 */
#include <bus/bus.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbus/examples/book.h"

#define ADDRESS_BOOK "org.example.AddressBook"

struct server {
    struct bus *bus;
    struct book book;
};

/* ------------------------------------------------------------ answers */

/* Says what is wrong with the arguments, and what would be right. */
static int refuse(struct bus_message *call, const char *wrong, const char *right)
{
    return bus_reply_error(call, BUS_ERROR_INVALID_ARGUMENTS, "%s; %s takes %s", wrong,
                           bus_message_method(call), right);
}

static int refuse_text(struct bus_message *call, const char *argument, const char *wrong)
{
    return bus_reply_error(call, BUS_ERROR_INVALID_ARGUMENTS, "\"%s\" %s", argument, wrong);
}

static int refuse_storing(struct server *server, struct bus_message *call, int error)
{
    fprintf(stderr, "address-book-server: %s: %s\n", server->book.path, strerror(-error));
    return bus_reply_error(call, ADDRESS_BOOK ".StorageFailed",
                           "the book could not be stored and is as it was: %s", strerror(-error));
}

/* Tells everybody who listens; the answer to the call has been sent. */
static void publish(struct server *server, const char *topic, const json_t *entry)
{
    int r = bus_publish(server->bus, topic, entry);

    if (r < 0)
        fprintf(stderr, "address-book-server: %s was not published: %s\n", topic, strerror(-r));
}

/* ------------------------------------------------------------ methods */

static int add(struct bus_message *call, void *userdata)
{
    struct server *server = userdata;
    struct bus_error error = BUS_ERROR_INIT;
    const char *name, *email = NULL, *phone = NULL, *wrong;
    json_t *entry;
    int r;

    if (bus_message_unpack(call, &error, "{s:s, s?s, s?s !}", "name", &name, "email", &email,
                           "phone", &phone) < 0)
        return refuse(call, error.message,
                      "{\"name\": text} and, optional, \"email\" and \"phone\"");
    if ((wrong = book_check_text(name)))
        return refuse_text(call, "name", wrong);
    if ((wrong = book_check_text(email)))
        return refuse_text(call, "email", wrong);
    if ((wrong = book_check_text(phone)))
        return refuse_text(call, "phone", wrong);

    r = book_add(&server->book, name, email, phone, &entry);
    if (r == 0)
        return bus_reply_error(call, ADDRESS_BOOK ".Full", "the book is full: it holds %d entries",
                               BOOK_ENTRIES_MAX);
    if (r < 0)
        return refuse_storing(server, call, r);
    r = bus_reply_take(call, json_pack("{s:O}", "id", json_object_get(entry, "id")));
    publish(server, ADDRESS_BOOK ".added", entry);
    return r;
}

static int remove_entry(struct bus_message *call, void *userdata)
{
    struct server *server = userdata;
    struct bus_error error = BUS_ERROR_INIT;
    json_int_t id;
    json_t *entry;
    int r;

    if (bus_message_unpack(call, &error, "{s:I !}", "id", &id) < 0)
        return refuse(call, error.message, "{\"id\": number}");
    r = book_remove(&server->book, id, &entry);
    if (r == 0)
        return bus_reply_error(call, ADDRESS_BOOK ".NoSuchEntry",
                               "there is no entry %" JSON_INTEGER_FORMAT, id);
    if (r < 0)
        return refuse_storing(server, call, r);
    r = bus_reply_text(call, "{}", BUS_NUL_TERMINATED);
    publish(server, ADDRESS_BOOK ".removed", entry);
    json_decref(entry);
    return r;
}

static int find(struct bus_message *call, void *userdata)
{
    struct server *server = userdata;
    struct bus_error error = BUS_ERROR_INIT;
    const char *text, *wrong;

    if (bus_message_unpack(call, &error, "{s:s !}", "text", &text) < 0)
        return refuse(call, error.message, "{\"text\": text}");
    if ((wrong = book_check_text(text)))
        return refuse_text(call, "text", wrong);
    return bus_reply_take(call, json_pack("{s:o}", "entries", book_find(&server->book, text)));
}

static bool has_arguments(struct bus_message *call)
{
    const json_t *body = bus_message_body(call);

    return !json_is_null(body) && !(json_is_object(body) && json_object_size(body) == 0);
}

static int list(struct bus_message *call, void *userdata)
{
    struct server *server = userdata;

    if (has_arguments(call))
        return refuse(call, "there are arguments", "none");
    return bus_reply_take(call, json_pack("{s:O}", "entries", server->book.entries));
}

/* Hands out the file itself, for reading only. It is replaced and never written
 * to, so what the caller holds stays the book of this moment. */
static int export(struct bus_message *call, void *userdata)
{
    struct server *server = userdata;
    struct bus_message *reply;
    int fd, r;

    if (has_arguments(call))
        return refuse(call, "there are arguments", "none");
    fd = open(server->book.path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return bus_reply_error(call, ADDRESS_BOOK ".StorageFailed", "the file is gone: %s",
                               strerror(errno));
    r = bus_message_new_reply(call, &reply);
    if (r < 0) {
        close(fd);
        return r;
    }
    r = bus_message_push_fd(reply, fd);
    if (r >= 0)
        r = bus_message_set_body_text(reply, "{\"type\":\"application/json\"}", BUS_NUL_TERMINATED);
    if (r >= 0)
        r = bus_send(reply);
    bus_message_unref(reply);
    return r;
}

static const struct bus_method methods[] = {
    {"Add", add, 0, "Adds an entry {name, email, phone}, the last two optional; answers its id."},
    {"Remove", remove_entry, 0, "Removes the entry {id}."},
    {"Find", find, 0, "Answers the entries that hold {text}, in whatever case."},
    {"List", list, 0, "Answers all entries."},
    {"Export", export, 0, "Hands out the book's file as a file descriptor, for reading."},
    BUS_METHOD_END,
};

/* --------------------------------------------------------------- main */

static char *default_path(void)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    char *path = NULL;
    int r = -1;

    if (data && data[0] == '/')
        r = asprintf(&path, "%s/address-book.json", data);
    else if (home && home[0] == '/')
        r = asprintf(&path, "%s/.local/share/address-book.json", home);
    return r < 0 ? NULL : path;
}

static int serve(struct server *server)
{
    const struct bus_service_options options = {.channels = BUS_CHANNELS_DEFAULT};
    struct bus_error error = BUS_ERROR_INIT;
    struct bus_slot *slot;
    int r;

    r = bus_connect(&server->bus, NULL);
    if (r < 0) {
        fprintf(stderr, "address-book-server: cannot connect to the bus: %s\n", strerror(-r));
        return r;
    }
    r = bus_serve_with(server->bus, ADDRESS_BOOK, &options, methods, server, &slot, &error);
    if (r == -EEXIST)
        fprintf(stderr, "address-book-server: %s is running on this bus already\n", ADDRESS_BOOK);
    else if (r < 0)
        fprintf(stderr, "address-book-server: cannot offer %s: %s\n", ADDRESS_BOOK, error.message);
    if (r >= 0) {
        bus_slot_set_description(slot, "An address book that survives.");
        printf("%s: %zu entries in %s\n", ADDRESS_BOOK, json_array_size(server->book.entries),
               server->book.path);
        fflush(stdout);
        r = bus_run(server->bus);
        fprintf(stderr, "address-book-server: the bus is gone: %s\n",
                bus_disconnect_error(server->bus)->message);
        bus_slot_free(slot);
    }
    bus_close(server->bus);
    return r;
}

int main(int argc, char **argv)
{
    struct server server = {0};
    char error[512] = "";
    char *path;
    int r;

    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fprintf(stderr, "usage: address-book-server [FILE]\n");
        return 2;
    }
    /* What is a letter, and which is its other case. */
    if (!setlocale(LC_CTYPE, "C.UTF-8")) {
        fprintf(stderr, "address-book-server: the C library has no C.UTF-8\n");
        return 1;
    }
    path = argc == 2 ? strdup(argv[1]) : default_path();
    if (!path) {
        fprintf(stderr, "address-book-server: no FILE given, and no XDG_DATA_HOME or HOME\n");
        return 2;
    }
    r = book_open(&server.book, path, error, sizeof(error));
    free(path);
    if (r < 0) {
        fprintf(stderr, "address-book-server: %s\n", error);
        return 1;
    }
    r = serve(&server);
    book_close(&server.book);
    return r < 0;
}
