/* SPDX-License-Identifier: MIT */
#include "tests/bench/plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbus/base/macros.h"
#include "tests/bench/results.h"

/* Rows of the table that share a picture. */
struct bars {
    const char *name;
    const char *title;
    const char *unit;
    enum metric metric;
    const char *workloads[12];
};

static const struct bars pictures[] = {
    {"calls", "Round trip of a call", "us, less is better", METRIC_VALUE, {"call-1cpu", "call"}},
    {"calls-large",
     "Round trip of a call with 1 MiB",
     "us, less is better",
     METRIC_VALUE,
     {"call-1m"}},
    {"calls-64", "64 calls in flight", "calls/s, more is better", METRIC_VALUE, {"call-64"}},
    {"events",
     "Events",
     "deliveries/s, more is better",
     METRIC_VALUE,
     {"events-1-1", "events-1-1-json", "events-1-1-1k", "events-1-1-1cpu", "events-1-8",
      "events-1-8-json", "events-1-8-1k", "events-8-8", "events-8-8-json", "events-8-8-1k"}},
    {"cpu",
     "CPU time of the broker",
     "us a message, less is better",
     METRIC_CPU,
     {"call-1cpu", "call-64", "events-1-1", "events-1-8", "events-8-8", "connect"}},
    {"connect", "Connections", "1/s, more is better", METRIC_VALUE, {"connect"}},
    {"memory",
     "Memory of the broker",
     "KiB, less is better",
     METRIC_VALUE,
     {"memory", "memory-connection"}},
    {"start", "From start to the first answer", "us, less is better", METRIC_VALUE, {"start"}},
};

static const struct workload *find_workload(const char *name)
{
    for (size_t i = 0; i < workloads_count; i++)
        if (strcmp(workloads[i].name, name) == 0)
            return &workloads[i];
    return NULL;
}

static FILE *open_in(const char *folder, const char *name, const char *suffix)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s%s", folder, name, suffix);
    FILE *file = fopen(path, "we");
    if (!file)
        perror(path);
    return file;
}

/* Keeps the data only if there is some. */
static void close_in(const char *folder, const char *name, FILE *file, bool keep)
{
    char path[4096];

    fclose(file);
    snprintf(path, sizeof(path), "%s/%s.dat", folder, name);
    if (!keep)
        unlink(path);
}

static void write_value(FILE *file, const struct workload *workload, const struct peer *peer,
                        size_t point, enum metric metric)
{
    const struct series *series = results_find(workload, peer, point);
    double value = series_median(series, metric);

    /* A picture on a logarithmic scale has no place for nothing. */
    if (isnan(value) || value <= 0 || series->lost > 0)
        fputs(" -", file);
    else
        fprintf(file, " %g", value);
}

/* True if there is anything to draw. */
static bool write_bars(const char *folder, const struct bars *bars,
                       const struct peer *const *measured, size_t count)
{
    FILE *file = open_in(folder, bars->name, ".dat");
    bool any = false;

    if (!file)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(bars->workloads) && bars->workloads[i]; i++) {
        const struct workload *workload = find_workload(bars->workloads[i]);
        bool measured_it = false;
        for (size_t j = 0; j < count; j++)
            measured_it = measured_it || results_find(workload, measured[j], 0);
        if (!measured_it)
            continue;
        any = true;
        fprintf(file, "\"%s\"", workload->name);
        for (size_t j = 0; j < count; j++)
            write_value(file, workload, measured[j], 0, bars->metric);
        fputc('\n', file);
    }
    close_in(folder, bars->name, file, any);
    return any;
}

static bool write_curve(const char *folder, const struct workload *workload,
                        const struct peer *const *measured, size_t count)
{
    FILE *file = open_in(folder, workload->name, ".dat");
    bool any = false;

    if (!file)
        return false;
    for (size_t i = 0; i < POINTS_MAX && workload->points[i]; i++) {
        bool measured_it = false;
        for (size_t j = 0; j < count; j++)
            measured_it = measured_it || results_find(workload, measured[j], workload->points[i]);
        if (!measured_it)
            continue;
        any = true;
        fprintf(file, "%zu", workload->points[i]);
        for (size_t j = 0; j < count; j++)
            write_value(file, workload, measured[j], workload->points[i], METRIC_VALUE);
        fputc('\n', file);
    }
    close_in(folder, workload->name, file, any);
    return any;
}

/* gnuplot stops at a column that has no number at all. */
static bool has_values(const struct peer *peer, const char *const *names, enum metric metric)
{
    for (size_t i = 0; names[i]; i++) {
        const struct series *series = results_find(find_workload(names[i]), peer, 0);
        if (series_median(series, metric) > 0 && series->lost == 0)
            return true;
    }
    return false;
}

static bool has_points(const struct peer *peer, const struct workload *workload)
{
    for (size_t i = 0; i < POINTS_MAX && workload->points[i]; i++) {
        const struct series *series = results_find(workload, peer, workload->points[i]);
        if (series_median(series, METRIC_VALUE) > 0 && series->lost == 0)
            return true;
    }
    return false;
}

static void script_bars(FILE *script, const struct bars *bars, const struct peer *const *measured,
                        size_t count)
{
    const char *separator = "plot";

    fprintf(script,
            "unset logscale\nset logscale y\nset style data histograms\n"
            "set style histogram clustered gap 1\nset style fill solid 0.9 border -1\n"
            "set xlabel\nset ylabel '%s'\nset title '%s'\nset xtics rotate by -25\n"
            "set yrange [*:*]\nset xrange [*:*]\n",
            bars->unit, bars->title);
    for (size_t i = 0; i < count; i++) {
        if (!has_values(measured[i], bars->workloads, bars->metric))
            continue;
        fprintf(script, "%s '%s.dat' using %zu:xtic(1) title '%s' lc %zu", separator, bars->name,
                i + 2, measured[i]->name, i + 1);
        separator = ",";
    }
    fputc('\n', script);
}

static void script_curve(FILE *script, const struct workload *workload,
                         const struct peer *const *measured, size_t count)
{
    const char *separator = "plot";

    fprintf(script,
            "unset logscale\nset logscale xy\nset style data linespoints\nset xtics norotate\n"
            "set xlabel '%s'\nset ylabel '%s, %s is better'\nset title '%s'\n"
            "set xrange [*:*]\nset yrange [*:*]\n",
            workload->axis, workload->unit, workload->more_is_better ? "more" : "less",
            workload->title);
    for (size_t i = 0; i < count; i++) {
        if (!has_points(measured[i], workload))
            continue;
        fprintf(script, "%s '%s.dat' using 1:%zu title '%s' lw %d pt 7 lc %zu", separator,
                workload->name, i + 2, measured[i]->name, i == 0 ? 4 : 2, i + 1);
        separator = ",";
    }
    fputc('\n', script);
}

/* What draws one picture is said once a format. */
static void script_format(FILE *script, const char *name, const char *terminal, const char *suffix)
{
    fprintf(script, "set terminal %s\nset output '%s%s'\n", terminal, name, suffix);
}

static const char *const formats[][2] = {
    {"pngcairo size 1200,700 font 'sans,12' background rgb 'white'", ".png"},
    {"svg size 1200,700 font 'sans,14' background rgb 'white'", ".svg"},
};

/* One a peer, in the order of the table. */
static const char *const colours[] = {"#c8102e", "#4b5563", "#9ca3af", "#1f77b4",
                                      "#e08e0b", "#2ca02c", "#8e44ad", "#111111"};

static void write_script(FILE *script, const char *folder, const struct peer *const *measured,
                         size_t count)
{
    fputs("set datafile missing '-'\nset grid ytics\nset key outside right top\n"
          "set format y '%.10g'\nset format x '%.10g'\n",
          script);
    for (size_t i = 0; i < ARRAY_SIZE(colours); i++)
        fprintf(script, "set linetype %zu lc rgb '%s'\n", i + 1, colours[i]);
    for (size_t i = 0; i < ARRAY_SIZE(pictures); i++) {
        if (!write_bars(folder, &pictures[i], measured, count))
            continue;
        for (size_t j = 0; j < ARRAY_SIZE(formats); j++) {
            script_format(script, pictures[i].name, formats[j][0], formats[j][1]);
            script_bars(script, &pictures[i], measured, count);
        }
    }
    for (size_t i = 0; i < workloads_count; i++) {
        if (!workloads[i].axis || !write_curve(folder, &workloads[i], measured, count))
            continue;
        for (size_t j = 0; j < ARRAY_SIZE(formats); j++) {
            script_format(script, workloads[i].name, formats[j][0], formats[j][1]);
            script_curve(script, &workloads[i], measured, count);
        }
    }
}

int plot_results(const char *folder, const struct peer *const *measured, size_t count)
{
    FILE *script = open_in(folder, "plots", ".gnuplot");
    char command[4096 + 64];

    if (!script)
        return -1;
    write_script(script, folder, measured, count);
    fclose(script);
    snprintf(command, sizeof(command), "cd '%s' && gnuplot plots.gnuplot", folder);
    return system(command) == 0 ? 0 : -1;
}
