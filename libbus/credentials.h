/* SPDX-License-Identifier: MIT */
/*
 * Who somebody on the bus is, as the bus answers GetCredentials: by the kernel's word
 * from the time of connecting. Unique names are never used again, so the answer is about
 * the very one who had the name, or there is none.
 */
#ifndef LIBBUS_CREDENTIALS_H
#define LIBBUS_CREDENTIALS_H

#include "bus/bus.h"
#include "libbus/output.h"

/* The call that asks, with its body in `body`. */
#define CREDENTIALS_BODY_SIZE 280
void credentials_ask(struct outgoing *ret_call, const char *name, char body[CREDENTIALS_BODY_SIZE]);

/* Takes them out of the reply. 0 with the pidfd the caller's, or -EPROTO. */
int credentials_read(struct bus_message *reply, struct bus_credentials *ret_credentials,
                     struct bus_error *error);

/* Closes the pidfd. */
void credentials_deinit(struct bus_credentials *credentials);

#endif
