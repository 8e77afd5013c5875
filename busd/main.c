/* SPDX-License-Identifier: MIT */
/*
 * The command line of busd.
 */
#include <errno.h>
#include <getopt.h>
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
    bool check_config;
    int print_fd; /* -1: do not */
    enum log_level level;
    struct config_source source;
    /* What the source points to: the texts are argv's, these arrays ours. */
    const char **addresses;
    const char **limits;
    const char **folders;
};

static const char usage[] =
    "Usage: busd [OPTION]...\n"
    "The message bus daemon.\n"
    "\n"
    "  --user                 be the user's bus, at $XDG_RUNTIME_DIR/busd/bus (default)\n"
    "  --system               be the system bus, at /run/busd/bus\n"
    "  --address ADDRESS      listen there instead: unix:/path, /path, unix:@abstract\n"
    "                         or fd:N; can be given several times\n"
    "  --config FILE          read this configuration instead of user.json or system.json\n"
    "  --config-folder DIR    look for it, conf.d and policy.d there, not in the installed\n"
    "                         folders; can be given several times, the first counts most\n"
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

static void parse_options(struct options *options, int argc, char **argv)
{
    enum { USER = 1, SYSTEM, ADDRESS, CONFIG, FOLDER, CHECK, LIMIT, PRINT, LEVEL, VERSION, HELP };
    static const struct option known[] = {
        {"user", no_argument, NULL, USER},
        {"system", no_argument, NULL, SYSTEM},
        {"address", required_argument, NULL, ADDRESS},
        {"config", required_argument, NULL, CONFIG},
        {"config-folder", required_argument, NULL, FOLDER},
        {"check-config", no_argument, NULL, CHECK},
        {"limit", required_argument, NULL, LIMIT},
        {"print-address", optional_argument, NULL, PRINT},
        {"log-level", required_argument, NULL, LEVEL},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, HELP},
        {0},
    };
    struct config_source *source = &options->source;
    char reason[CONFIG_REASON_SIZE];
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case USER:
        case SYSTEM:
            source->system = option == SYSTEM;
            break;
        case ADDRESS:
            options->addresses[source->address_count++] = optarg;
            break;
        case CONFIG:
            source->file = optarg;
            break;
        case FOLDER:
            options->folders[source->folder_count++] = optarg;
            break;
        case CHECK:
            options->check_config = true;
            break;
        case LIMIT:
            if (!config_check_limit(optarg, reason)) {
                fprintf(stderr, "busd: %s\n", reason);
                exit(EXIT_USAGE);
            }
            options->limits[source->limit_count++] = optarg;
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

/* Where configuration is looked for. With an address alone there is none: such a bus
 * depends on nothing that the machine has. */
static void complete_source(struct options *options)
{
    struct config_source *source = &options->source;

    source->addresses = options->addresses;
    source->limits = options->limits;
    source->folders = options->folders;
    if (source->folder_count > 0 || source->file || (source->address_count > 0 && !source->system))
        return;
    options->folders[source->folder_count++] = "/etc/busd";
    options->folders[source->folder_count++] = BUSD_DATADIR;
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

/* The default address; NULL: nothing says where that would be. */
static char *default_address(bool system)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char *address = NULL;

    if (!system && (!runtime || runtime[0] != '/'))
        return NULL;
    int r = system ? asprintf(&address, "unix:%s", ADDRESS_SYSTEM)
                   : asprintf(&address, "unix:%s/%s", runtime, ADDRESS_USER_PATH);
    return r < 0 ? NULL : address;
}

/* Makes the folder of the default address. */
static bool make_folder(struct log *log, const char *address, bool system)
{
    CLEANUP(cleanup_free) char *folder = strdup(address + strlen("unix:"));

    if (!folder)
        return false;
    *strrchr(folder, '/') = '\0';
    if (mkdir(folder, system ? 0755 : 0700) < 0 && errno != EEXIST) {
        log_write(log, LOG_LEVEL_ERROR, "cannot make the folder %s: %s", folder, strerror(errno));
        return false;
    }
    return true;
}

static bool print_address(const struct options *options, const char *address)
{
    if (options->print_fd < 0)
        return true;
    bool has_form = strncmp(address, "unix:", 5) == 0 || strncmp(address, "fd:", 3) == 0;
    return dprintf(options->print_fd, "%s%s\n", has_form ? "" : "unix:", address) > 0;
}

static bool start_listening(struct broker *broker, const struct options *options)
{
    const char *fallback = options->source.address;

    if (broker->config.listener_count == 0) {
        log_write(broker->log, LOG_LEVEL_ERROR,
                  "XDG_RUNTIME_DIR is not set: set it, or say where to listen with --address");
        return false;
    }
    if (fallback && broker->config.listener_count == 1 &&
        strcmp(broker->config.listeners[0].address, fallback) == 0 &&
        !make_folder(broker->log, fallback, options->source.system))
        return false;
    if (broker_listen(broker) < 0)
        return false;
    for (size_t i = 0; i < broker->config.listener_count; i++) {
        if (!print_address(options, broker->config.listeners[i].address)) {
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
    char reason[CONFIG_REASON_SIZE];
    struct config config;
    struct broker broker;
    struct log log;

    CLEANUP(cleanup_free) const char **addresses = calloc((size_t)argc, sizeof(*addresses));
    CLEANUP(cleanup_free) const char **limits = calloc((size_t)argc, sizeof(*limits));
    CLEANUP(cleanup_free) const char **folders = calloc((size_t)argc + 2, sizeof(*folders));
    if (!addresses || !limits || !folders)
        return EXIT_FAILURE;
    options.addresses = addresses;
    options.limits = limits;
    options.folders = folders;
    parse_options(&options, argc, argv);
    complete_source(&options);
    CLEANUP(cleanup_free) char *fallback = default_address(options.source.system);
    options.source.address = fallback;

    if (!config_load(&config, &options.source, reason)) {
        fprintf(stderr, "busd: %s\n", reason);
        return EXIT_FAILURE;
    }
    if (options.check_config) {
        puts("the configuration is right");
        config_deinit(&config);
        return EXIT_SUCCESS;
    }

    log_init(&log, options.level);
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit(&log);
    if (broker_init(&broker, &log, &options.source, &config) < 0)
        return EXIT_FAILURE;
    bool listening = start_listening(&broker, &options);
    if (listening)
        broker_run(&broker);
    broker_deinit(&broker);
    return listening ? EXIT_SUCCESS : EXIT_FAILURE;
}
