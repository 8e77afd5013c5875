/* SPDX-License-Identifier: MIT */
/*
 * The command line of busd.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
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
#include "busd/statedir.h"
#include "libbus/base/log.h"
#include "libbus/base/macros.h"
#include "libbus/wire/address.h"

#define EXIT_USAGE 2

struct options {
    bool check_config;
    bool seccomp;
    int print_fd; /* -1: do not */
    enum log_level level;
    struct privileges_user user; /* whom to be; without a name: who we are */
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
    "  --state DIR            keep the last values that outlive the bus there, not in\n"
    "                         $XDG_STATE_HOME/busd or /var/lib/busd; a bus with --address\n"
    "                         has no other such folder than this\n"
    "  --limit NAME=VALUE     set a limit, like message_bytes=65536\n"
    "  --print-address[=FD]   write the address to standard output (or FD) when ready\n"
    "  --run-as USER          give up root for this user once the sockets are there\n"
    "  --seccomp              then allow only the system calls that serving needs; the\n"
    "                         configuration cannot be read anew behind it\n"
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

static void parse_options(struct options *options, int argc, char **argv)
{
    enum {
        USER = 1,
        SYSTEM,
        ADDRESS,
        CONFIG,
        FOLDER,
        CHECK,
        STATE,
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
        {"config-folder", required_argument, NULL, FOLDER},
        {"check-config", no_argument, NULL, CHECK},
        {"state", required_argument, NULL, STATE},
        {"limit", required_argument, NULL, LIMIT},
        {"print-address", optional_argument, NULL, PRINT},
        {"run-as", required_argument, NULL, RUN_AS},
        {"seccomp", no_argument, NULL, SECCOMP},
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
        case STATE:
            if (!*optarg)
                usage_error("--state takes a folder, not", optarg);
            source->state = optarg;
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

/* The usual folder for what outlives the bus; NULL: nothing says where that would be. */
static char *usual_state(bool system)
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    char *folder = NULL;
    int r = -1;

    if (system)
        return strdup("/var/lib/busd");
    if (state && state[0] == '/')
        r = asprintf(&folder, "%s/busd", state);
    else if (home && home[0] == '/')
        r = asprintf(&folder, "%s/.local/state/busd", home);
    return r < 0 ? NULL : folder;
}

/* A folder of ours for the socket, if there is none: with umask(2) out of the way, and
 * given to whom it is for. Whether an existing one will do is seen when the socket is
 * made. */
static bool make_folder(const struct options *options, struct log *log, const char *address)
{
    CLEANUP(cleanup_free) char *path = strdup(address + strlen("unix:"));

    if (!path)
        return false;
    *strrchr(path, '/') = '\0';
    mode_t mask = umask(0022);
    int r = mkdir(path, options->source.system ? 0755 : 0700);
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

/* Ours means: of whom we are going to be. */
static int open_endpoint(const struct options *options, const struct config_listener *listener,
                         struct log *log, struct endpoint *ret_endpoint)
{
    bool becomes = options->user.name != NULL;
    struct endpoint_options place = {
        .address = listener->address,
        .mode = listener->mode,
        .owner = becomes && listener->owner == (uid_t)-1 ? options->user.uid : listener->owner,
        .group = becomes && listener->group == (gid_t)-1 ? options->user.gid : listener->group,
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
static bool open_endpoints(const struct options *options, const struct config *config,
                           struct log *log, struct endpoint *endpoints)
{
    const char *fallback = options->source.address;

    if (config->listener_count == 0) {
        log_write(log, LOG_LEVEL_ERROR,
                  "XDG_RUNTIME_DIR is not set: set it, or say where to listen with --address");
        return false;
    }
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        bool ready = !fallback || strcmp(listener->address, fallback) != 0 ||
                     make_folder(options, log, fallback);
        if (!ready || open_endpoint(options, listener, log, &endpoints[i]) < 0) {
            close_endpoints(endpoints, i);
            return false;
        }
    }
    return true;
}

static bool prepare_state(const struct options *options, const struct config *config,
                          struct log *log, struct statedir *dir)
{
    uid_t user = options->user.name ? options->user.uid : (uid_t)-1;

    if (statedir_init(dir, config->state, !config->state_named) == 0)
        return statedir_prepare(dir, user, options->user.gid, log) == 0;
    log_write(log, LOG_LEVEL_ERROR, "cannot start: %s", strerror(ENOMEM));
    return false;
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

static bool print_addresses(const struct options *options, const struct config *config,
                            struct log *log)
{
    if (options->print_fd < 0)
        return true;
    for (size_t i = 0; i < config->listener_count; i++) {
        if (!print_address(options, config->listeners[i].address)) {
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
    return !(options->source.system || options->user.name) || privileges_seal(log) == 0;
}

/* What is only opened or started when it is first needed is needed before the filter:
 * libuv's threads, and the random numbers of jansson's hash tables. */
static bool close_sandbox(struct broker *broker)
{
    json_object_seed(0);
    broker->sealed = true;
    return broker_start_threads(broker) == 0 && sandbox_enter(broker->log) == 0;
}

static bool serve(struct broker *broker, const struct options *options, struct statedir *dir,
                  struct endpoint *endpoints)
{
    if (broker_open_store(broker, dir, options->seccomp) < 0)
        return false;
    for (size_t i = 0; i < broker->config.listener_count; i++)
        if (broker_listen(broker, &broker->config.listeners[i], &endpoints[i]) < 0)
            return false;
    if (options->seccomp && !close_sandbox(broker))
        return false;
    if (!print_addresses(options, &broker->config, broker->log))
        return false;
    broker_run(broker);
    return true;
}

/* Takes the configuration. The order matters. The sockets have their modes and owners
 * before anybody can connect; what needs rights is done before they are given up; and
 * the loop is made after that, so that nothing in it (an io_uring) keeps the old
 * credentials. */
static int run(const struct options *options, struct config *config, struct log *log)
{
    CLEANUP(statedir_deinit) struct statedir dir = STATEDIR_NONE;
    size_t count = config->listener_count;
    /* A thread that the disk does not let go may look at it to the very end. */
    static struct broker broker;

    CLEANUP(cleanup_free) struct endpoint *endpoints = calloc(count + 1, sizeof(*endpoints));
    if (!endpoints)
        log_write(log, LOG_LEVEL_ERROR, "cannot start: %s", strerror(ENOMEM));
    bool opened = endpoints && open_endpoints(options, config, log, endpoints);
    if (opened)
        privileges_raise_file_limit(log);
    if (!opened || !prepare_state(options, config, log, &dir) || !give_up_rights(options, log)) {
        if (opened)
            close_endpoints(endpoints, count);
        config_deinit(config);
        return EXIT_FAILURE;
    }
    bool served = false;
    if (broker_init(&broker, log, &options->source, config) == 0) {
        served = serve(&broker, options, &dir, endpoints);
        broker_deinit(&broker);
    }
    close_endpoints(endpoints, count);
    return served ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct options options = {.print_fd = -1, .level = LOG_LEVEL_NOTICE};
    char reason[CONFIG_REASON_SIZE];
    struct config config;
    struct log log;

    umask(0077);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
#ifdef M_ARENA_MAX
    /* One heap for all threads. That of a thread would cost memory, and the C library opens a
     * file when it shrinks, which the sandbox does not let it. */
    mallopt(M_ARENA_MAX, 1);
#endif
    CLEANUP(cleanup_free) const char **addresses = calloc((size_t)argc, sizeof(*addresses));
    CLEANUP(cleanup_free) const char **limits = calloc((size_t)argc, sizeof(*limits));
    CLEANUP(cleanup_free) const char **folders = calloc((size_t)argc + 2, sizeof(*folders));
    if (!addresses || !limits || !folders) {
        fputs("busd: cannot start: there is no memory\n", stderr);
        return EXIT_FAILURE;
    }
    if (privileges_fill_standard_fds() < 0)
        return EXIT_FAILURE;
    options.addresses = addresses;
    options.limits = limits;
    options.folders = folders;
    parse_options(&options, argc, argv);
    complete_source(&options);
    CLEANUP(cleanup_free) char *fallback = default_address(options.source.system);
    options.source.address = fallback;
    CLEANUP(cleanup_free) char *state = usual_state(options.source.system);
    if (options.source.address_count == 0)
        options.source.usual_state = state;

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
    int status = run(&options, &config, &log);
    log_deinit(&log);
    return status;
}
