/* SPDX-License-Identifier: MIT */
#include "tests/support/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libbus/base/text.h"

char *policy_read_example(const char *name)
{
    static const char folder[] = "/run/busd";
    struct text text = TEXT_INIT;
    char path[256], line[512];

    snprintf(path, sizeof(path), CONF_DIR "/%s", name);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file)) {
        char *at = strstr(line, folder);
        if (at) {
            text_append(&text, line, (size_t)(at - line));
            text_append_string(&text, "DIR");
            text_append_string(&text, at + sizeof(folder) - 1);
        } else {
            text_append_string(&text, line);
        }
    }
    if (file)
        fclose(file);
    return text.data;
}

char *policy_text(struct session *session, const char *format, ...)
{
    CLEANUP(cleanup_free) char *written = NULL;
    struct text text = TEXT_INIT;
    va_list args;

    va_start(args, format);
    assert_true(vasprintf(&written, format, args) >= 0);
    va_end(args);
    for (const char *p = written; *p; p++) {
        size_t size = strspn(p + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
        struct client *client = *p == '$' ? session_find(session, p + 1, size) : NULL;
        if (strncmp(p, "DIR", 3) == 0) {
            text_append_string(&text, session->busd.directory);
            p += 2;
        } else if (client) {
            text_append_string(&text, client->unique);
            p += size;
        } else {
            text_append(&text, p, 1);
        }
    }
    assert_false(text.failed);
    return text.data;
}

void policy_expect_denied(struct client *client, uint64_t id, const char *message)
{
    CLEANUP(cleanup_free) char *expected = policy_text(client->session, "%s", message);
    struct message *got = client_next(client);
    const char *error = got ? json_string_value(json_object_get(got->json, "error")) : NULL;
    const char *said = got ? json_string_value(json_object_get(got->json, "message")) : NULL;
    bool right = error && strcmp(error, "bus.AccessDenied") == 0 && said &&
                 strcmp(said, expected) == 0 &&
                 json_integer_value(json_object_get(got->json, "id")) == (json_int_t)id;

    if (!right)
        print_error("%s was to get the denial of %llu: %s\nand got: %s\n", client->name,
                    (unsigned long long)id, expected, got ? got->line : "nothing");
    message_free(got);
    assert_true(right);
}

void policy_reload(struct client *manager, const char *config)
{
    assert_int_equal(busd_configure(&manager->session->busd, config), 0);
    client_ask(manager, "Reload", "{}", "{}");
}

void policy_reload_fails(struct client *manager, const char *config, const char *message)
{
    CLEANUP(cleanup_free) char *expected = policy_text(manager->session, "%s", message);
    uint64_t id = manager->next_id++;

    assert_int_equal(busd_configure(&manager->session->busd, config), 0);
    client_send(manager, "{'type':'call','id':%llu,'to':'bus','method':'Reload'}",
                (unsigned long long)id);
    struct message *got = client_next(manager);
    const char *error = got ? json_string_value(json_object_get(got->json, "error")) : NULL;
    const char *said = got ? json_string_value(json_object_get(got->json, "message")) : NULL;
    bool right =
        error && strcmp(error, "bus.InvalidArguments") == 0 && said && strstr(said, expected);
    if (!right)
        print_error("Reload was to fail with: %s\nand said: %s\n", expected,
                    got ? got->line : "nothing");
    message_free(got);
    assert_true(right);
}
