/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/items.h"

#include <errno.h>

#include "tools/busctl-lite/json.h"
#include "tools/busctl-lite/owned.h"

#define READS_MAX 16 /* in a row, before others have their turn */

void items_init(struct items *items, struct bus_message *call)
{
    *items = (struct items){.call = call};
    lines_init(&items->lines);
}

void items_deinit(struct items *items)
{
    lines_deinit(&items->lines);
}

static int send_line(struct items *items, const char *line, size_t size)
{
    CLEANUP(owned_text) char *quoted = NULL;

    if (!bus_check_json(line, size, NULL))
        return bus_reply_more_text(items->call, line, size);
    quoted = json_quote(line, size);
    return quoted ? bus_reply_more_text(items->call, quoted, BUS_NUL_TERMINATED) : -ENOMEM;
}

enum items_state items_send(struct items *items)
{
    const char *line;
    size_t size;

    while (lines_first(&items->lines, &line, &size)) {
        int r = send_line(items, line, size);

        if (r == -EAGAIN)
            return ITEMS_HELD;
        items->too_large = r == -EMSGSIZE || r == -ENOMEM;
        if (r < 0)
            return ITEMS_LOST;
        lines_drop(&items->lines, size);
    }
    return items->lines.ended ? ITEMS_END : ITEMS_WAIT;
}

enum items_state items_move(struct items *items, int fd)
{
    enum items_state state = items_send(items);

    for (int i = 0; state == ITEMS_WAIT && i < READS_MAX; i++) {
        size_t held = items->lines.end - items->lines.start;
        int r = lines_read(&items->lines, fd);

        items->too_large = r == -EFBIG || r == -ENOMEM;
        if (r < 0)
            return ITEMS_LOST;
        if (items->lines.end - items->lines.start == held && !items->lines.ended)
            break;
        state = items_send(items);
    }
    return state;
}

void items_finish(struct items *items)
{
    items->lines.ended = true;
}
