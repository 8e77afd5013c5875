/* SPDX-License-Identifier: MIT */
/*
 * A client of the address book service: calls its methods and watches its events.
 */
#include <bus/bus.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADDRESS_BOOK "org.example.AddressBook"

static const char usage[] = "usage: address-book add NAME [EMAIL [PHONE]]\n"
                            "       address-book remove ID\n"
                            "       address-book find TEXT\n"
                            "       address-book list\n"
                            "       address-book export FILE\n"
                            "       address-book watch\n";

static void print_entry(json_t *entry)
{
    const char *name = "?", *email = "", *phone = "";
    json_int_t id = 0;

    json_unpack(entry, "{s:I, s:s, s?s, s?s}", "id", &id, "name", &name, "email", &email, "phone",
                &phone);
    printf("%4" JSON_INTEGER_FORMAT "  %-24s  %s%s%s\n", id, name, email, *phone ? "  " : "",
           phone);
}

/* Calls the service with `body` (taken). */
static int call(struct bus *bus, const char *method, json_t *body, struct bus_message **ret_reply)
{
    struct bus_error error = BUS_ERROR_INIT;
    int r = bus_call_take(bus, ADDRESS_BOOK, method, body, BUS_TIMEOUT_DEFAULT, &error, ret_reply);

    if (r == -ENXIO)
        fprintf(stderr, "address-book: address-book-server is not running on this bus\n");
    else if (r < 0)
        fprintf(stderr, "address-book: %s\n", error.message[0] ? error.message : strerror(-r));
    return r;
}

static int add(struct bus *bus, char **arguments)
{
    json_t *body = json_pack("{s:s, s:s*, s:s*}", "name", arguments[0], "email", arguments[1],
                             "phone", arguments[1] ? arguments[2] : NULL);
    struct bus_message *reply;
    json_int_t id = 0;
    int r;

    if (!body) {
        fprintf(stderr, "address-book: the arguments are not UTF-8\n");
        return -EINVAL;
    }
    r = call(bus, "Add", body, &reply);
    if (r < 0)
        return r;
    bus_message_unpack(reply, NULL, "{s:I}", "id", &id);
    printf("%" JSON_INTEGER_FORMAT "\n", id);
    bus_message_unref(reply);
    return 0;
}

static int remove_entry(struct bus *bus, char **arguments)
{
    char *end;
    long long id;

    errno = 0;
    id = strtoll(arguments[0], &end, 10);
    if (errno != 0 || end == arguments[0] || *end != '\0') {
        fprintf(stderr,
                "address-book: '%s' is not an ID: that is the number at the front of list\n",
                arguments[0]);
        return -EINVAL;
    }
    return call(bus, "Remove", json_pack("{s:I}", "id", (json_int_t)id), NULL);
}

static int print_entries(struct bus *bus, const char *method, json_t *body)
{
    struct bus_message *reply;
    json_t *entry;
    size_t i;
    int r = call(bus, method, body, &reply);

    if (r < 0)
        return r;
    json_array_foreach(json_object_get(bus_message_body(reply), "entries"), i, entry)
        print_entry(entry);
    bus_message_unref(reply);
    return 0;
}

static int find(struct bus *bus, char **arguments)
{
    json_t *body = json_pack("{s:s}", "text", arguments[0]);

    if (!body) {
        fprintf(stderr, "address-book: the text is not UTF-8\n");
        return -EINVAL;
    }
    return print_entries(bus, "Find", body);
}

static int list(struct bus *bus, char **arguments)
{
    return print_entries(bus, "List", NULL);
}

/* Copies what `source` holds, wherever its shared offset stands, to a new file. */
static int copy_to(int source, const char *path)
{
    struct stat status;
    off_t offset = 0;
    ssize_t n = 1;
    int fd;

    /* What is passed can be anything: a pipe here would make us wait for ever. */
    if (fstat(source, &status) < 0 || !S_ISREG(status.st_mode))
        return -EBADF;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    while (n > 0)
        n = sendfile(fd, source, &offset, 1 << 20);
    if (n < 0)
        n = -errno;
    if (close(fd) < 0 && n == 0)
        n = -errno;
    if (n < 0)
        unlink(path);
    return (int)n;
}

static int export(struct bus *bus, char **arguments)
{
    struct bus_message *reply;
    int r = call(bus, "Export", NULL, &reply);

    if (r < 0)
        return r;
    r = bus_message_peek_fd(reply, 0);
    if (r >= 0)
        r = copy_to(r, arguments[0]);
    bus_message_unref(reply);
    if (r < 0)
        fprintf(stderr, "address-book: %s: %s\n", arguments[0], strerror(-r));
    return r;
}

static void print_change(struct bus_message *event, void *userdata)
{
    printf("%-7s", bus_message_topic(event) + strlen(ADDRESS_BOOK "."));
    print_entry(bus_message_body(event));
}

static int watch(struct bus *bus, char **arguments)
{
    struct bus_error error = BUS_ERROR_INIT;
    int r = bus_subscribe(bus, ADDRESS_BOOK ".*", ADDRESS_BOOK, print_change, NULL, NULL, &error);

    if (r >= 0) {
        r = bus_run(bus);
        error = *bus_disconnect_error(bus);
    }
    fprintf(stderr, "address-book: %s\n", error.message[0] ? error.message : strerror(-r));
    return r;
}

static const struct command {
    const char *name;
    int min_arguments, max_arguments;
    int (*run)(struct bus *bus, char **arguments); /* the array ends with NULL */
} commands[] = {
    {"add", 1, 3, add},   {"remove", 1, 1, remove_entry}, {"find", 1, 1, find},
    {"list", 0, 0, list}, {"export", 1, 1, export},       {"watch", 0, 0, watch},
};

static const struct command *command_find(int argc, char **argv)
{
    for (size_t i = 0; argc >= 2 && i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, argv[1]) == 0 && argc - 2 >= commands[i].min_arguments &&
            argc - 2 <= commands[i].max_arguments)
            return &commands[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const struct command *command = command_find(argc, argv);
    struct bus *bus;
    int r;

    if (!command) {
        fputs(usage, stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    r = bus_connect(&bus, NULL);
    if (r < 0) {
        fprintf(stderr, "address-book: cannot connect to the bus: %s\n", strerror(-r));
        return 1;
    }
    r = command->run(bus, argv + 2);
    bus_close(bus);
    return r < 0;
}
