/* SPDX-License-Identifier: MIT */
/*
 * Properties: a convention on top of last values and calls, of which the bus knows
 * nothing. The property `level` of org.example.Lamp is the last value of the topic
 * org.example.Lamp.level, which only the owner of that name may publish; it is set by
 * calling the service's method Set.
 *
 * The service keeps a copy of each value, so that an equal one is not published again and
 * all of them are when the name comes (back) to us. They are published only while the
 * name is ours.
 */
#ifndef LIBBUS_PROPERTY_H
#define LIBBUS_PROPERTY_H

#include <stddef.h>
#include <stdint.h>

#include "bus/bus.h"
#include "libbus/base/text.h"
#include "libbus/wire/grammar.h"

struct service;

struct property {
    const struct bus_property *row;
    char *topic;
    char *text; /* NULL: null */
    size_t size;
    uint64_t settings; /* how often it has been set, to whatever value */
};

/* What a service has of them. */
struct properties {
    struct property *item;
    size_t count;
    bool published;         /* the name is ours */
    struct bus_slot *watch; /* of the name, where it can come and go; NULL */
};

/* Takes the table (NULL: none) over, with the initial values. On failure what there is is
 * for properties_deinit(). */
int properties_init(struct service *service, const struct bus_property *table, unsigned name_flags,
                    struct bus_error *error);
void properties_deinit(struct properties *properties);

/* The name has been requested, and is `owned` or is waited for. */
int properties_begin(struct service *service, bool owned, unsigned name_flags,
                     struct bus_error *error);

/* The service ends. `tell`: the connection may live on, so the values are ended. */
void properties_end(struct service *service, struct bus *bus, bool tell);

/* Answers the method Set. */
int properties_answer_set(struct service *service, struct bus_message *call);

/* The member of Introspect's reply, with the comma before it. */
void properties_describe(const struct properties *properties, struct text *text);

/* The topic of a property. 0 or -EINVAL. */
int property_topic(const char *name, const char *property, char topic[GRAMMAR_NAME_MAX + 1],
                   struct bus_error *error);

#endif
