/* SPDX-License-Identifier: MIT */
#include "tests/support/history.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libbus/base/text.h"
#include "tests/support/unit.h"

/* In the child: what goes wrong shows in its status. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        _exit(2);
    return fd;
}

static void write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n <= 0)
            _exit(3);
        data += n;
        size -= (size_t)n;
    }
}

static void write_step(int fd, struct text *text, uint64_t *count)
{
    text->size = 0;
    for (unsigned i = 0; i < HISTORY_STEP; i++, ++*count) {
        unsigned long long n = *count / HISTORY_TOPICS + 1;
        text_printf(text,
                    "{\"type\":\"event\",\"topic\":\"h.%u\",\"retain\":\"bus\",\"n\":%llu,"
                    "\"body\":",
                    (unsigned)(*count % HISTORY_TOPICS), n);
        if (n % HISTORY_CLEARED == 0)
            text_append_string(text, "null}\n");
        else
            text_printf(text, "%llu}\n", n);
    }
    if (text->failed)
        _exit(4);
    write_all(fd, text->data, text->size);
}

static void publish(const char *path, int steps_fd)
{
    struct text text = TEXT_INIT;
    uint64_t count = 0;
    char steps[64];
    ssize_t n;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = connect_to(path);
    while ((n = read(steps_fd, steps, sizeof(steps))) > 0)
        while (n-- > 0)
            write_step(fd, &text, &count);
    _exit(n == 0 ? 0 : 5);
}

void history_begin(struct history *history, const char *path)
{
    int fd[2];

    assert_int_equal(pipe(fd), 0);
    history->pid = fork();
    assert_true(history->pid >= 0);
    if (history->pid == 0) {
        close(fd[1]);
        publish(path, fd[0]);
    }
    close(fd[0]);
    history->steps_fd = fd[1];
}

void history_allow(struct history *history, unsigned steps)
{
    char bytes[64] = {0};

    for (; steps > 0; steps -= steps < sizeof(bytes) ? steps : (unsigned)sizeof(bytes)) {
        size_t size = steps < sizeof(bytes) ? steps : sizeof(bytes);
        assert_int_equal(write(history->steps_fd, bytes, size), size);
    }
}

void history_end(struct history *history)
{
    int status;

    close(history->steps_fd);
    assert_int_equal(waitpid(history->pid, &status, 0), history->pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the publisher's status is %d", status);
}

/* There is no value at first, and after each end. */
static bool is_absent(uint64_t n)
{
    return n % HISTORY_CLEARED == 0;
}

void view_begin(struct view *view, unsigned topics)
{
    view->missing = topics;
}

void view_value(struct view *view, unsigned topic, uint64_t n)
{
    CHECK(view->missing & 1u << topic && !is_absent(n), "h.%u: %llu is no value to come now", topic,
          (unsigned long long)n);
    CHECK(!view->known[topic] || view->last[topic] == n,
          "h.%u: the value is %llu, but what came before was %llu", topic, (unsigned long long)n,
          (unsigned long long)view->last[topic]);
    view->missing &= ~(1u << topic);
    view->known[topic] = true;
    view->last[topic] = n;
    view->seen++;
}

void view_end(struct view *view)
{
    for (unsigned topic = 0; topic < HISTORY_TOPICS; topic++) {
        if (!(view->missing & 1u << topic))
            continue;
        CHECK(is_absent(view->last[topic]), "h.%u: there was no value, but %llu before", topic,
              (unsigned long long)view->last[topic]);
        view->known[topic] = true;
    }
    view->missing = 0;
}

void view_event(struct view *view, unsigned topic, uint64_t n)
{
    uint64_t last = view->last[topic];
    /* Of what was not there it is not known how far the history was. */
    bool follows = last == 0 ? is_absent(n - 1) : n == last + 1;

    CHECK(view->known[topic] && follows, "h.%u: %llu follows %llu", topic, (unsigned long long)n,
          (unsigned long long)last);
    view->last[topic] = n;
    view->seen++;
}

void view_forget(struct view *view, unsigned topic)
{
    view->known[topic] = false;
    view->last[topic] = 0;
}
