/* SPDX-License-Identifier: MIT */
#include "tests/bench/results.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/macros.h"

#define SERIES_MAX 4096

static struct series *all[SERIES_MAX];
static size_t all_count;

const struct series *results_find(const struct workload *workload, const struct peer *peer,
                                  size_t point)
{
    for (size_t i = 0; i < all_count; i++)
        if (all[i]->workload == workload && all[i]->peer == peer && all[i]->point == point)
            return all[i];
    return NULL;
}

struct series *results_series(const struct workload *workload, const struct peer *peer,
                              size_t point)
{
    for (size_t i = 0; i < all_count; i++)
        if (all[i]->workload == workload && all[i]->peer == peer && all[i]->point == point)
            return all[i];
    struct series *series = calloc(1, sizeof(*series));
    if (!series || all_count == SERIES_MAX) {
        fputs("bench: too many results\n", stderr);
        exit(EXIT_FAILURE);
    }
    series->workload = workload;
    series->peer = peer;
    series->point = point;
    all[all_count++] = series;
    return series;
}

void series_add(struct series *series, const struct sample *sample)
{
    if (series->count == ROUNDS_MAX)
        return;
    for (size_t i = 0; i < METRICS; i++)
        series->rounds[i][series->count] = sample->metric[i];
    series->count++;
    series->messages += sample->messages;
    series->lost += sample->lost;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* What was measured, sorted; returns how many there are. */
static size_t sorted(const struct series *series, enum metric metric, double *ret_values)
{
    size_t count = 0;

    for (size_t i = 0; series && i < series->count; i++)
        if (!isnan(series->rounds[metric][i]))
            ret_values[count++] = series->rounds[metric][i];
    qsort(ret_values, count, sizeof(*ret_values), compare);
    return count;
}

double series_median(const struct series *series, enum metric metric)
{
    double values[ROUNDS_MAX];
    size_t count = sorted(series, metric, values);

    if (count == 0)
        return NAN;
    return (values[count / 2] + values[(count - 1) / 2]) / 2;
}

double series_spread(const struct series *series, enum metric metric)
{
    double values[ROUNDS_MAX];
    size_t count = sorted(series, metric, values);

    if (count == 0)
        return NAN;
    double median = series_median(series, metric);
    return median > 0 ? (values[count - 1] - values[0]) / 2 / median : 0;
}

static json_t *describe_rounds(const struct series *series, enum metric metric)
{
    json_t *rounds = json_array();

    for (size_t i = 0; i < series->count; i++)
        json_array_append_new(rounds, json_real(series->rounds[metric][i]));
    return json_pack("{s:f, s:f, s:o}", "median", series_median(series, metric), "spread",
                     series_spread(series, metric), "rounds", rounds);
}

static json_t *describe(const struct series *series)
{
    static const char *const names[METRICS] = {"value", "p99", "cpu_us"};
    const struct workload *workload = series->workload;
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:b}", "record", "measurement", "workload",
                               workload->name, "peer", series->peer->name, "unit", workload->unit,
                               "more_is_better", workload->more_is_better);

    if (series->point > 0) {
        json_object_set_new(object, "axis", json_string(workload->axis));
        json_object_set_new(object, "at", json_integer((json_int_t)series->point));
    }
    for (size_t i = 0; i < METRICS; i++)
        if (!isnan(series_median(series, i)))
            json_object_set_new(object, names[i], describe_rounds(series, i));
    json_object_set_new(object, "messages", json_integer((json_int_t)series->messages));
    json_object_set_new(object, "lost", json_integer((json_int_t)series->lost));
    if (series->failure[0])
        json_object_set_new(object, "failure", json_string(series->failure));
    return object;
}

bool results_failed(void)
{
    for (size_t i = 0; i < all_count; i++)
        if (all[i]->failure[0] || all[i]->lost > 0)
            return true;
    return false;
}

void results_write_json(FILE *file)
{
    for (size_t i = 0; i < all_count; i++) {
        json_t *object = describe(all[i]);
        json_dumpf(object, file, JSON_COMPACT | JSON_REAL_PRECISION(6));
        fputc('\n', file);
        json_decref(object);
    }
}
