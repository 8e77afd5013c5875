/* SPDX-License-Identifier: MIT */
/*
 * The command line of busd.
 */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "busd/broker.h"
#include "busd/config.h"
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
    enum { USER = 1, SYSTEM, ADDRESS, CONFIG, CHECK, LIMIT, PRINT, LEVEL, VERSION, HELP };
    static const struct option known[] = {
        {"user", no_argument, NULL, USER},
        {"system", no_argument, NULL, SYSTEM},
        {"address", required_argument, NULL, ADDRESS},
        {"config", required_argument, NULL, CONFIG},
        {"check-config", no_argument, NULL, CHECK},
        {"limit", required_argument, NULL, LIMIT},
        {"print-address", optional_argument, NULL, PRINT},
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

/* A socket and, before long, a file descriptor or two for what passes: as many as
 * the hard limit allows. */
static void raise_file_limit(struct log *log)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_write(log, LOG_LEVEL_WARNING, "cannot raise the limit of open files: %s",
                  strerror(errno));
}

/* The default address, with its folder made if it is missing. NULL: the log says
 * why. */
static char *default_address(struct log *log, bool system)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char *address = NULL;

    if (!system && (!runtime || runtime[0] != '/')) {
        log_write(log, LOG_LEVEL_ERROR,
                  "XDG_RUNTIME_DIR is not set: set it, or say where with --address");
        return NULL;
    }
    int r = system ? asprintf(&address, "unix:%s", ADDRESS_SYSTEM)
                   : asprintf(&address, "unix:%s/%s", runtime, ADDRESS_USER_PATH);
    if (r < 0) {
        log_write(log, LOG_LEVEL_ERROR, "cannot start: %s", strerror(ENOMEM));
        return NULL;
    }

    char *folder = address + strlen("unix:");
    char *slash = strrchr(folder, '/');
    *slash = '\0';
    if (mkdir(folder, system ? 0755 : 0700) < 0 && errno != EEXIST) {
        log_write(log, LOG_LEVEL_ERROR, "cannot make the folder %s: %s", folder, strerror(errno));
        free(address);
        return NULL;
    }
    *slash = '/';
    return address;
}

static bool print_address(const struct options *options, const char *address)
{
    if (options->print_fd < 0)
        return true;
    bool has_form = strncmp(address, "unix:", 5) == 0 || strncmp(address, "fd:", 3) == 0;
    return dprintf(options->print_fd, "%s%s\n", has_form ? "" : "unix:", address) > 0;
}

static bool listen_all(struct broker *broker, const struct options *options)
{
    CLEANUP(cleanup_free) char *fallback = NULL;
    const char *only;
    const char **addresses = options->addresses;
    size_t count = options->address_count;

    if (count == 0) {
        only = fallback = default_address(broker->log, options->system);
        if (!fallback)
            return false;
        addresses = &only;
        count = 1;
    }
    for (size_t i = 0; i < count; i++) {
        struct listener_options listener = {addresses[i], options->system ? 0666 : 0600, (uid_t)-1,
                                            (gid_t)-1};
        if (broker_listen(broker, &listener) < 0)
            return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!print_address(options, addresses[i])) {
            log_write(broker->log, LOG_LEVEL_ERROR, "cannot write the address to fd %d: %s",
                      options->print_fd, strerror(errno));
            return false;
        }
    }
    /* Whoever reads the address to its end need not wait for us to leave. */
    if (options->print_fd > STDERR_FILENO)
        close(options->print_fd);
    return true;
}

int main(int argc, char **argv)
{
    struct options options = {.print_fd = -1, .level = LOG_LEVEL_NOTICE};
    struct broker broker;
    struct log log;

    CLEANUP(cleanup_free) const char **addresses = calloc((size_t)argc, sizeof(*addresses));
    if (!addresses) {
        fputs("busd: cannot start: there is no memory\n", stderr);
        return EXIT_FAILURE;
    }
    options.addresses = addresses;
    parse_options(&options, argc, argv);
    if (options.check_config) {
        puts("the configuration is right");
        return EXIT_SUCCESS;
    }

    log_init(&log, options.level);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit(&log);
    /* Now, and not with the first message, when there may be no file descriptor left
     * for reading good randomness. */
    json_object_seed(0);
    if (broker_init(&broker, &log, &options.config) < 0)
        return EXIT_FAILURE;
    bool listening = listen_all(&broker, &options);
    if (listening)
        broker_run(&broker);
    broker_deinit(&broker);
    return listening ? EXIT_SUCCESS : EXIT_FAILURE;
}
