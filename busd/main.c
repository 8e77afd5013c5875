/* SPDX-License-Identifier: MIT */
/*
 * The command line of busd.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "busd/broker.h"
#include "busd/config.h"
#include "busd/endpoint.h"
#include "busd/privileges.h"
#include "busd/sandbox.h"
#include "libbus/base/log.h"
#include "libbus/base/macros.h"
#include "libbus/wire/address.h"

#define EXIT_USAGE 2

struct options {
    bool system;
    bool check_config;
    const char **addresses; /* owned; the texts are argv's */
    size_t address_count;
    int print_fd; /* -1: do not */
    bool seccomp;
    struct privileges_user user; /* whom to be; without a name: who we are */
    struct config config;
    enum log_level level;
};

static const char usage[] =
    "Usage: busd [OPTION]...\n"
    "The message bus daemon.\n"
    "\n"
    "  --user                 be the user's bus, at $XDG_RUNTIME_DIR/busd/bus (default)\n"
    "  --system               be the system bus, at /run/busd/bus\n"
    "  --address ADDRESS      listen there instead: unix:/path, /path, unix:@abstract\n"
    "                         or fd:N; can be given several times\n"
    "  --config FILE          read a configuration\n"
    "  --check-config         only say whether the configuration is right\n"
    "  --limit NAME=VALUE     set a limit, like message_bytes=65536\n"
    "  --print-address[=FD]   write the address to standard output (or FD) when ready\n"
    "  --run-as USER          give up root for this user once the sockets are there\n"
    "  --seccomp              then allow only the system calls that serving needs\n"
    "  --log-level LEVEL      error, warning, notice (default), info or debug\n"
    "  --version              say which version this is\n"
    "  --help                 say this\n";

static void usage_error(const char *format, const char *argument)
{
    fputs("busd: ", stderr);
    fprintf(stderr, "%s '%s'\nTry 'busd --help'.\n", format, argument);
    exit(EXIT_USAGE);
}

static void set_print_fd(struct options *options, const char *argument)
{
    char *end;
    long fd = argument ? strtol(argument, &end, 10) : STDOUT_FILENO;

    if (argument && (argument[0] < '0' || argument[0] > '9' || *end || fd > 0xfffff))
        usage_error("--print-address takes the number of a file descriptor, not", argument);
    options->print_fd = (int)fd;
}

static void set_user(struct options *options, const char *name)
{
    int r = privileges_find_user(name, &options->user);

    if (r == -EINVAL)
        usage_error("--run-as takes a user with fewer rights than root, not", name);
    if (r == -EPERM)
        usage_error("only root can become another user, like", name);
    if (r < 0)
        usage_error(r == -ENOENT ? "there is no user" : "cannot look up the user", name);
}

/* --system changes the defaults that --config and --limit are laid over, so it is
 * looked for first. */
static bool wants_system(int argc, char **argv)
{
    bool system = false;

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--system") == 0)
            system = true;
        else if (strcmp(argv[i], "--user") == 0)
            system = false;
    }
    return system;
}

static void parse_options(struct options *options, int argc, char **argv)
{
    enum {
        USER = 1,
        SYSTEM,
        ADDRESS,
        CONFIG,
        CHECK,
        LIMIT,
        PRINT,
        RUN_AS,
        SECCOMP,
        LEVEL,
        VERSION,
        HELP
    };
    static const struct option known[] = {
        {"user", no_argument, NULL, USER},
        {"system", no_argument, NULL, SYSTEM},
        {"address", required_argument, NULL, ADDRESS},
        {"config", required_argument, NULL, CONFIG},
        {"check-config", no_argument, NULL, CHECK},
        {"limit", required_argument, NULL, LIMIT},
        {"print-address", optional_argument, NULL, PRINT},
        {"run-as", required_argument, NULL, RUN_AS},
        {"seccomp", no_argument, NULL, SECCOMP},
        {"log-level", required_argument, NULL, LEVEL},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    char reason[CONFIG_REASON_SIZE];
    int option;

    options->system = wants_system(argc, argv);
    config_init(&options->config, options->system);
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case USER:
        case SYSTEM:
            break;
        case ADDRESS:
            options->addresses[options->address_count++] = optarg;
            break;
        case CONFIG:
            if (!config_read(&options->config, optarg, reason)) {
                fprintf(stderr, "busd: %s\n", reason);
                exit(EXIT_FAILURE);
            }
            break;
        case CHECK:
            options->check_config = true;
            break;
        case LIMIT:
            if (!config_set_limit(&options->config, optarg, reason)) {
                fprintf(stderr, "busd: %s\n", reason);
                exit(EXIT_USAGE);
            }
            break;
        case PRINT:
            set_print_fd(options, optarg);
            break;
        case RUN_AS:
            set_user(options, optarg);
            break;
        case SECCOMP:
            options->seccomp = true;
            break;
        case LEVEL:
            if (!log_level_parse(optarg, &options->level))
                usage_error("a log level is error, warning, notice, info or debug, not", optarg);
            break;
        case VERSION:
            puts("busd " BUSD_VERSION);
            exit(EXIT_SUCCESS);
        case HELP:
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        default:
            fputs("Try 'busd --help'.\n", stderr);
            exit(EXIT_USAGE);
        }
    }
    if (optind < argc)
        usage_error("there are only options, not", argv[optind]);
}

/* A folder of ours for the socket, if there is none: with umask(2) out of the way, and
 * given to whom it is for. Whether an existing one will do is seen when the socket is
 * made. */
static bool make_folder(const struct options *options, struct log *log, const char *path)
{
    mode_t mask = umask(0022);
    int r = mkdir(path, options->system ? 0755 : 0700);

    umask(mask);
    if (r < 0 && errno == EEXIST)
        return true;
    if (r == 0 && options->user.name) {
        CLEANUP(cleanup_close) int fd = open(path, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = fd < 0 ? -1 : fchown(fd, options->user.uid, options->user.gid);
    }
    if (r < 0)
        log_write(log, LOG_LEVEL_ERROR, "cannot make the folder %s: %s", path, strerror(errno));
    return r == 0;
}

/* The default address, with its folder made if it is missing. NULL: the log says
 * why. */
static char *default_address(const struct options *options, struct log *log)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char *address = NULL;

    if (!options->system && (!runtime || runtime[0] != '/')) {
        log_write(log, LOG_LEVEL_ERROR,
                  "XDG_RUNTIME_DIR is not set: set it, or say where with --address");
        return NULL;
    }
    int r = options->system ? asprintf(&address, "unix:%s", ADDRESS_SYSTEM)
                            : asprintf(&address, "unix:%s/%s", runtime, ADDRESS_USER_PATH);
    if (r < 0)
        return NULL;

    char *folder = address + strlen("unix:");
    char *slash = strrchr(folder, '/');
    *slash = '\0';
    if (!make_folder(options, log, folder)) {
        free(address);
        return NULL;
    }
    *slash = '/';
    return address;
}

/* Ours means: of whom we are going to be. */
static int open_endpoint(const struct options *options, const char *address, struct log *log,
                         struct endpoint *ret_endpoint)
{
    bool becomes = options->user.name != NULL;
    struct endpoint_options place = {
        .address = address,
        .mode = options->system ? 0666 : 0600,
        .owner = becomes ? options->user.uid : (uid_t)-1,
        .group = becomes ? options->user.gid : (gid_t)-1,
        .user = becomes ? options->user.uid : (uid_t)-1,
    };

    return endpoint_open(ret_endpoint, &place, log);
}

static void close_endpoints(struct endpoint *endpoints, size_t count)
{
    for (size_t i = 0; i < count; i++)
        endpoint_close(&endpoints[i]);
}

/* All or none. */
static bool open_endpoints(const struct options *options, struct log *log,
                           struct endpoint *endpoints)
{
    for (size_t i = 0; i < options->address_count; i++) {
        if (open_endpoint(options, options->addresses[i], log, &endpoints[i]) < 0) {
            close_endpoints(endpoints, i);
            return false;
        }
    }
    return true;
}

/* With write(2) alone: stdio makes system calls of its own, which the sandbox may not
 * know. */
static bool print_address(const struct options *options, const char *address)
{
    bool has_form = strncmp(address, "unix:", 5) == 0 || strncmp(address, "fd:", 3) == 0;
    CLEANUP(cleanup_free) char *line = NULL;

    int size = asprintf(&line, "%s%s\n", has_form ? "" : "unix:", address);
    return size >= 0 && write(options->print_fd, line, (size_t)size) == size;
}

static bool print_addresses(const struct options *options, struct log *log)
{
    if (options->print_fd < 0)
        return true;
    for (size_t i = 0; i < options->address_count; i++) {
        if (!print_address(options, options->addresses[i])) {
            log_write(log, LOG_LEVEL_ERROR, "cannot write the address to fd %d: %s",
                      options->print_fd, strerror(errno));
            return false;
        }
    }
    /* Whoever reads the address to its end need not wait for us to leave. */
    if (options->print_fd > STDERR_FILENO)
        close(options->print_fd);
    return true;
}

/* The rights that serving does not need. The system bus has clients of other users, so
 * it is closed up even if it stays who it is. */
static bool give_up_rights(const struct options *options, struct log *log)
{
    if (privileges_drop(&options->user, log) < 0)
        return false;
    return !(options->system || options->user.name) || privileges_seal(log) == 0;
}

/* What is only opened or started when it is first needed is needed before the filter:
 * libuv's threads, and the random numbers of jansson's hash tables. */
static bool close_sandbox(struct broker *broker)
{
    json_object_seed(0);
    return broker_start_threads(broker) == 0 && sandbox_enter(broker->log) == 0;
}

static bool serve(struct broker *broker, const struct options *options, struct endpoint *endpoints)
{
    for (size_t i = 0; i < options->address_count; i++)
        if (broker_listen(broker, &endpoints[i]) < 0)
            return false;
    if (options->seccomp && !close_sandbox(broker))
        return false;
    if (!print_addresses(options, broker->log))
        return false;
    broker_run(broker);
    return true;
}

/* The order matters. The sockets have their modes and owners before anybody can connect;
 * what needs rights is done before they are given up; and the loop is made after that,
 * so that nothing in it (an io_uring) keeps the old credentials. */
static int run(struct options *options, struct log *log)
{
    CLEANUP(cleanup_free) char *fallback = NULL;
    struct broker broker;

    if (options->address_count == 0) {
        fallback = default_address(options, log);
        if (!fallback)
            return EXIT_FAILURE;
        options->addresses[options->address_count++] = fallback;
    }
    CLEANUP(cleanup_free)
    struct endpoint *endpoints = calloc(options->address_count, sizeof(*endpoints));
    if (!endpoints || !open_endpoints(options, log, endpoints))
        return EXIT_FAILURE;
    privileges_raise_file_limit(log);
    if (!give_up_rights(options, log) || broker_init(&broker, log, &options->config) < 0) {
        close_endpoints(endpoints, options->address_count);
        return EXIT_FAILURE;
    }
    bool served = serve(&broker, options, endpoints);
    broker_deinit(&broker);
    close_endpoints(endpoints, options->address_count);
    return served ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct options options = {.print_fd = -1, .level = LOG_LEVEL_NOTICE};
    struct log log;

    umask(0077);
    signal(SIGPIPE, SIG_IGN);
    /* Room for the default, if there is none. */
    CLEANUP(cleanup_free) const char **addresses = calloc((size_t)argc + 1, sizeof(*addresses));
    if (!addresses || privileges_fill_standard_fds() < 0)
        return EXIT_FAILURE;
    options.addresses = addresses;
    parse_options(&options, argc, argv);
    if (options.check_config) {
        puts("the configuration is right");
        return EXIT_SUCCESS;
    }

    log_init(&log, options.level);
    int status = run(&options, &log);
    log_deinit(&log);
    return status;
}
