/* SPDX-License-Identifier: MIT */
/*
 * busd beside the brokers that it could replace, and beside a bare relay: every
 * workload is measured for all of them in turn, over several rounds, so that what
 * the machine does meanwhile meets all alike.
 *
 *     workloads.c   what is measured; workload-*.c: how
 *     peers.c       who is measured; peer-*.c: each with its own client library
 *     crew.c        the processes of one measurement
 *     results.c     medians; report.c, plot.c: what one gets to see
 */
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/bench/broker.h"
#include "tests/bench/crew.h"
#include "tests/bench/plot.h"
#include "tests/bench/process.h"
#include "tests/bench/report.h"
#include "tests/bench/results.h"

#define QUICK_POINT 10000 /* curves end there when there is little time */

static const char usage[] =
    "Usage: bench [OPTION]...\n"
    "Measures busd beside other message brokers.\n"
    "\n"
    "  --quick            a run of about two minutes: short rounds, few points of curves\n"
    "  --rounds N         how often everything is measured (default 5; --quick: 3)\n"
    "  --seconds S        how long each time (default 0.5; --quick: 0.1)\n"
    "  --only WORKLOADS   only these, separated by commas; * and ? stand for any\n"
    "  --peers PEERS      only these\n"
    "  --out FOLDER       where results and plots go (default bench-results)\n"
    "  --no-plots         do not draw\n"
    "  --list             say which workloads and peers there are\n"
    "  --help             say this\n";

static struct {
    size_t rounds;
    size_t curve_rounds;
    const char *only;
    const char *peers;
    const char *out;
    bool plots;
} options = {.rounds = 5, .curve_rounds = 3, .out = "bench-results", .plots = true};

static const struct peer *measured[16];
static struct broker brokers[16];
static size_t measured_count;
static volatile sig_atomic_t interrupted;

/* Whether a list "a,b*,c" names it; NULL names all. */
static bool is_listed(const char *list, const char *name)
{
    CLEANUP(cleanup_free) char *copy = list ? strdup(list) : NULL;
    char *rest = copy;

    if (!list)
        return true;
    for (const char *item; (item = strsep(&rest, ","));)
        if (fnmatch(item, name, 0) == 0)
            return true;
    return false;
}

static void stop_brokers(void)
{
    for (size_t i = 0; i < measured_count; i++)
        if (brokers[i].pid)
            broker_stop(&brokers[i]);
}

/* A broker is started when it is first needed, and started again after a failure. */
static struct broker *running_broker(size_t index)
{
    if (!brokers[index].pid && !broker_start(&brokers[index], measured[index], NULL))
        return NULL;
    broker_wake(&brokers[index]);
    return &brokers[index];
}

/* What is measured on a broker of its own. */
static bool measure_fresh(const struct workload *workload, const struct peer *peer, size_t point,
                          struct sample *ret_sample)
{
    struct broker broker;
    double us;

    if (!broker_start(&broker, peer, &us))
        return false;
    bool well = true;
    if (workload->run)
        well = workload->run(workload, &broker, point, ret_sample);
    else
        ret_sample->metric[METRIC_VALUE] = us;
    broker_stop(&broker);
    return well;
}

static void measure(const struct workload *workload, size_t index, size_t point)
{
    struct series *series = results_series(workload, measured[index], point);
    struct sample sample;
    bool well;

    sample_init(&sample);
    if (workload->fresh || !workload->run) {
        well = measure_fresh(workload, measured[index], point, &sample);
    } else {
        struct broker *broker = running_broker(index);
        well = broker && workload->run(workload, broker, point, &sample);
        if (broker && well)
            broker_sleep(broker);
        else if (broker)
            broker_stop(broker);
    }
    if (well)
        series_add(series, &sample);
    else
        snprintf(series->failure, sizeof(series->failure), "%s", board->failure);
}

static bool is_possible(const struct workload *workload, const struct peer *peer, size_t point)
{
    const char *forms = workload->load.patterns;

    if (workload->possible && !workload->possible(workload, peer))
        return false;
    if (forms) {
        size_t most = strcmp(forms, "e") == 0 ? peer->exact_max : peer->patterns_max;
        if (most > 0 && point > most)
            return false;
    }
    return !forms || !strchr(forms, 'f') || !peer->no_first_wildcard;
}

static void measure_point(const struct workload *workload, size_t point, size_t rounds)
{
    for (size_t round = 0; round < rounds && !interrupted; round++) {
        for (size_t i = 0; i < measured_count && !interrupted; i++) {
            size_t index = (i + round) % measured_count;
            if (!is_possible(workload, measured[index], point))
                continue;
            const struct series *series = results_find(workload, measured[index], point);
            /* Who has failed would only fail again, and take its time over it. */
            if (!series || !series->failure[0])
                measure(workload, index, point);
        }
    }
}

static void measure_workload(const struct workload *workload)
{
    size_t count = 0;

    if (!workload->axis) {
        measure_point(workload, 0, workload_quick && workload->steady ? 1 : options.rounds);
        return;
    }
    while (count < POINTS_MAX && workload->points[count] &&
           (!workload_quick || workload->points[count] <= QUICK_POINT))
        count++;
    for (size_t i = 0; i < count; i++)
        if (!workload_quick || i == 0 || i == count / 2 || i == count - 1)
            measure_point(workload, workload->points[i], options.curve_rounds);
}

static void list_all(void)
{
    puts("Workloads:");
    for (size_t i = 0; i < workloads_count; i++)
        printf("  %-24s %s, %s\n", workloads[i].name, workloads[i].title, workloads[i].unit);
    puts("Peers:");
    for (size_t i = 0; i < peers_count; i++) {
        const char *missing = peer_missing(peers[i]);
        printf("  %-24s %s%s\n", peers[i]->name, missing ? "skipped: " : peers[i]->client,
               missing ? missing : "");
    }
}

static size_t parse_rounds(const char *text)
{
    size_t rounds = strtoul(text, NULL, 10);

    if (rounds < 1 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "bench: --rounds is 1 to %d\n", ROUNDS_MAX);
        exit(2);
    }
    return rounds;
}

static void parse_options(int argc, char **argv)
{
    enum { QUICK = 256, ROUNDS, SECONDS, ONLY, PEERS, OUT, NO_PLOTS, LIST, HELP };
    static const struct option names[] = {{"quick", no_argument, NULL, QUICK},
                                          {"rounds", required_argument, NULL, ROUNDS},
                                          {"seconds", required_argument, NULL, SECONDS},
                                          {"only", required_argument, NULL, ONLY},
                                          {"peers", required_argument, NULL, PEERS},
                                          {"out", required_argument, NULL, OUT},
                                          {"no-plots", no_argument, NULL, NO_PLOTS},
                                          {"list", no_argument, NULL, LIST},
                                          {"help", no_argument, NULL, HELP},
                                          {NULL, 0, NULL, 0}};
    size_t rounds = 0;
    double seconds = 0;

    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        switch (option) {
        case QUICK:
            workload_quick = true;
            break;
        case ROUNDS:
            rounds = parse_rounds(optarg);
            break;
        case SECONDS:
            seconds = strtod(optarg, NULL);
            break;
        case ONLY:
            options.only = optarg;
            break;
        case PEERS:
            options.peers = optarg;
            break;
        case OUT:
            options.out = optarg;
            break;
        case NO_PLOTS:
            options.plots = false;
            break;
        case LIST:
            list_all();
            exit(EXIT_SUCCESS);
        case HELP:
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind < argc || seconds < 0 || seconds > 60) {
        fputs(usage, stderr);
        exit(2);
    }
    options.rounds = rounds ? rounds : workload_quick ? 3 : 5;
    options.curve_rounds = workload_quick ? 1 : MIN(options.rounds, (size_t)3);
    workload_seconds = seconds > 0 ? seconds : workload_quick ? 0.1 : 0.5;
}

static void choose_peers(void)
{
    for (size_t i = 0; i < peers_count; i++)
        if (is_listed(options.peers, peers[i]->name) && !peer_missing(peers[i]))
            measured[measured_count++] = peers[i];
    if (measured_count == 0) {
        fprintf(stderr, "bench: none of these peers can be measured: %s\n", options.peers);
        exit(2);
    }
}

static FILE *open_results(void)
{
    char path[4096];

    if (mkdir(options.out, 0777) < 0 && errno != EEXIST) {
        perror(options.out);
        exit(EXIT_FAILURE);
    }
    snprintf(path, sizeof(path), "%s/results.jsonl", options.out);
    FILE *file = fopen(path, "we");
    if (!file) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    return file;
}

static void on_signal(int signal)
{
    interrupted = signal; /* the brokers are stopped, and what there is is written */
}

int main(int argc, char **argv)
{
    bool any = false;

    process_init();
    parse_options(argc, argv);
    crew_init();
    choose_peers();
    FILE *file = open_results();
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    report_write_run(file, measured, measured_count, options.rounds);
    report_head(measured, measured_count, options.rounds);
    for (size_t i = 0; i < workloads_count && !interrupted; i++) {
        if (!is_listed(options.only, workloads[i].name))
            continue;
        any = true;
        measure_workload(&workloads[i]);
        report_workload(measured, measured_count, &workloads[i]);
    }
    stop_brokers();
    results_write_json(file);
    fclose(file);
    if (!any) {
        fprintf(stderr, "bench: there is no workload %s\n", options.only);
        return 2;
    }
    if (options.plots && plot_results(options.out, measured, measured_count) < 0)
        fputs("bench: the plots could not be drawn\n", stderr);
    printf("\nAll rounds are in %s/results.jsonl%s\n", options.out,
           options.plots ? ", plots beside it" : "");
    return interrupted || results_failed() ? EXIT_FAILURE : EXIT_SUCCESS;
}
