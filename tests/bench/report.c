/* SPDX-License-Identifier: MIT */
#include "tests/bench/report.h"

#include <math.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "libbus/base/macros.h"
#include "tests/bench/drivers.h"
#include "tests/bench/process.h"
#include "tests/bench/results.h"

#define TITLE_WIDTH 34
#define CELL_WIDTH  12

static void read_processor(char *text, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");

    snprintf(text, size, "unknown");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, "model name", strlen("model name")) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(text, size, "%.*s", (int)size - 1, line + strcspn(line, ":") + 2);
            break;
        }
    }
    if (file)
        fclose(file);
}

static void format_date(char *text, size_t size)
{
    time_t now = time(NULL);
    struct tm tm;

    strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
}

void report_head(const struct peer *const *measured, size_t count, size_t rounds)
{
    char processor[256], date[32], version[128];
    struct utsname system;

    uname(&system);
    read_processor(processor, sizeof(processor));
    format_date(date, sizeof(date));
    printf("%s, %u cores, %s %s, %s\n", processor, process_cores(), system.sysname, system.release,
           date);
    for (size_t i = 0; i < count; i++) {
        peer_version(measured[i], version, sizeof(version));
        printf("  %-12s %s; %s over %s\n", measured[i]->name, version, measured[i]->client,
               measured[i]->transport);
    }
    for (size_t i = 0; i < peers_count; i++)
        if (peer_missing(peers[i]))
            printf("  %-12s skipped: %s\n", peers[i]->name, peer_missing(peers[i]));
    printf("Medians of %zu rounds of %.2g s (curves: fewer); below, half of the range, and how\n"
           "many times better busd is. Rates of events count deliveries.\n\n",
           rounds, workload_seconds);
    printf("%-*s", TITLE_WIDTH, "");
    for (size_t i = 0; i < count; i++)
        printf("%*s", CELL_WIDTH, measured[i]->name);
    putchar('\n');
    fflush(stdout);
}

void report_write_run(FILE *file, const struct peer *const *measured, size_t count, size_t rounds)
{
    char processor[256], date[32], version[128];
    json_t *versions = json_object();
    struct utsname system;

    uname(&system);
    read_processor(processor, sizeof(processor));
    format_date(date, sizeof(date));
    for (size_t i = 0; i < count; i++) {
        peer_version(measured[i], version, sizeof(version));
        json_object_set_new(versions, measured[i]->name, json_string(version));
    }
    json_t *run = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:i, s:f, s:o}", "record", "run",
                            "date", date, "processor", processor, "cores", (int)process_cores(),
                            "kernel", system.release, "machine", system.machine, "rounds",
                            (int)rounds, "seconds", workload_seconds, "versions", versions);
    json_dumpf(run, file, JSON_COMPACT | JSON_REAL_PRECISION(6));
    fputc('\n', file);
    json_decref(run);
}

static void print_number(double value)
{
    char text[32];

    if (value >= 9.995e5)
        snprintf(text, sizeof(text), "%.2f M", value / 1e6);
    else if (value >= 9999.5)
        snprintf(text, sizeof(text), "%.1f k", value / 1e3);
    else if (value >= 99.95)
        snprintf(text, sizeof(text), "%.0f", value);
    else
        snprintf(text, sizeof(text), value >= 9.995 ? "%.1f" : "%.2f", value);
    printf("%*s", CELL_WIDTH, text);
}

static void print_cell(const struct series *series, enum metric metric)
{
    double value = series_median(series, metric);

    if (series && series->lost > 0)
        printf("%*s", CELL_WIDTH, "lost some");
    else if (series && series->failure[0] && isnan(value))
        printf("%*s", CELL_WIDTH, "failed");
    else if (isnan(value))
        printf("%*s", CELL_WIDTH, "-");
    else
        print_number(value);
}

static void print_comparison(const struct series *series, const struct series *ours,
                             enum metric metric)
{
    double value = series_median(series, metric);
    double own = series_median(ours, metric);
    bool more = metric == METRIC_VALUE && series && series->workload->more_is_better;
    double times = more ? own / value : value / own;
    char text[64] = "";

    if (!isnan(value) && series->lost == 0) {
        int used = 0;
        if (series->count > 1)
            used = snprintf(text, sizeof(text), "%.0f%%", series_spread(series, metric) * 100);
        if (series != ours && isfinite(times) && value > 0)
            snprintf(text + used, sizeof(text) - (size_t)used, " %.*fx", times < 9.95 ? 2 : 0,
                     times);
    }
    printf("%*s", CELL_WIDTH, text);
}

static void print_row(const struct peer *const *measured, size_t count,
                      const struct workload *workload, size_t point, enum metric metric,
                      const char *title)
{
    printf("%-*s", TITLE_WIDTH, title);
    for (size_t i = 0; i < count; i++)
        print_cell(results_find(workload, measured[i], point), metric);
    printf("\n%-*s", TITLE_WIDTH, "");
    for (size_t i = 0; i < count; i++)
        print_comparison(results_find(workload, measured[i], point),
                         results_find(workload, &peer_busd, point), metric);
    putchar('\n');
}

static void print_failures(const struct peer *const *measured, size_t count,
                           const struct workload *workload, size_t point)
{
    for (size_t i = 0; i < count; i++) {
        const struct series *series = results_find(workload, measured[i], point);
        if (series && series->failure[0])
            printf("  %s failed: %s\n", measured[i]->name, series->failure);
        if (series && series->lost > 0)
            printf("  %s lost %llu of %llu deliveries\n", measured[i]->name,
                   (unsigned long long)series->lost,
                   (unsigned long long)(series->messages * workload->load.subscribers));
    }
}

void report_workload(const struct peer *const *measured, size_t count,
                     const struct workload *workload)
{
    char title[128];

    if (workload->axis) {
        printf("%s, %s\n", workload->title, workload->unit);
        for (size_t i = 0; i < POINTS_MAX && workload->points[i]; i++) {
            bool any = false;
            for (size_t j = 0; j < count; j++)
                any = any || results_find(workload, measured[j], workload->points[i]);
            if (!any)
                continue;
            snprintf(title, sizeof(title), "  %zu %s", workload->points[i], workload->axis);
            print_row(measured, count, workload, workload->points[i], METRIC_VALUE, title);
            print_failures(measured, count, workload, workload->points[i]);
        }
    } else {
        bool with_cpu = false;
        for (size_t i = 0; i < count; i++)
            with_cpu = with_cpu ||
                       !isnan(series_median(results_find(workload, measured[i], 0), METRIC_CPU));
        snprintf(title, sizeof(title), "%s, %s", workload->title, workload->unit);
        print_row(measured, count, workload, 0, METRIC_VALUE, title);
        if (with_cpu)
            print_row(measured, count, workload, 0, METRIC_CPU,
                      workload->run == run_wakeups ? "  broker CPU a second, us"
                                                   : "  broker CPU each, us");
        print_failures(measured, count, workload, 0);
    }
    fflush(stdout);
}
