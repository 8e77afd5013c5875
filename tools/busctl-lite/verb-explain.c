/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/json.h"
#include "tools/busctl-lite/members.h"
#include "tools/busctl-lite/names.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

#define USER_MAX   UINT32_C(4294967294)
#define GROUPS_MAX 65536

/* What is asked: may `who` do this? */
struct question {
    const char *who; /* NULL: ourselves */
    json_t *body;    /* for Explain */
};

static void question_deinit(struct question *question)
{
    json_decref(question->body);
}

/* What each verb of the policy is about. */
static const struct {
    const char *verb;
    const char *keys[2];
    const char *operands;
} forms[] = {
    {"connect", {NULL}, ""},
    {"own", {"name"}, " NAME"},
    {"call", {"to", "method"}, " NAME METHOD"},
    {"publish", {"topic"}, " TOPIC"},
    {"subscribe", {"topic"}, " TOPIC"},
    {"monitor", {NULL}, ""},
    {"manage", {NULL}, ""},
};

static int check_operand(const char *verb, const char *key, const char *text)
{
    if (strcmp(key, "method") == 0)
        return check_method(verb, text);
    if (strcmp(key, "topic") == 0)
        return check_topic(verb, text);
    return strcmp(key, "name") == 0 ? check_name(verb, text) : check_peer(verb, text);
}

static int set_text(json_t *body, const char *key, const char *text)
{
    return json_object_set_new(body, key, json_string(text)) < 0 ? report_no_memory() : STATUS_OK;
}

static int parse_operands(json_t *body, const struct cli *cli, const struct arguments *arguments)
{
    char *const *operands = arguments->operands;
    size_t i = 0, needed = 0;
    int r;

    while (i < ARRAY_SIZE(forms) && strcmp(forms[i].verb, operands[0]) != 0)
        i++;
    if (i == ARRAY_SIZE(forms))
        return report_usage(cli->verb,
                            "'%s' is nothing that a policy speaks of: there are connect, own, "
                            "call, publish, subscribe, monitor and manage",
                            operands[0]);
    while (needed < ARRAY_SIZE(forms[i].keys) && forms[i].keys[needed])
        needed++;
    if (arguments->operand_count != needed + 1)
        return report_usage(cli->verb, "write 'busctl-lite explain %s%s'", forms[i].verb,
                            forms[i].operands);
    r = set_text(body, "verb", operands[0]);
    for (size_t j = 0; j < needed && !r; j++) {
        r = check_operand(cli->verb, forms[i].keys[j], operands[j + 1]);
        if (!r)
            r = set_text(body, forms[i].keys[j], operands[j + 1]);
    }
    return r;
}

/* A number is a user's number, known here or not. */
static bool parse_uid(const char *text, uint64_t *ret_uid)
{
    char *end;

    errno = 0;
    uint64_t uid = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || uid > USER_MAX)
        return false;
    *ret_uid = uid;
    return true;
}

/* The groups that the user would have after logging in, its own first. */
static int set_groups(json_t *body, const struct passwd *user)
{
    int count = GROUPS_MAX, r = STATUS_OK;
    gid_t *groups = malloc(sizeof(*groups) * (size_t)count);
    json_t *array = json_array();

    if (!groups || !array || getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
        r = report_no_memory();
    for (int i = 0; i < count && !r; i++)
        if (json_array_append_new(array, json_integer(groups[i])) < 0)
            r = report_no_memory();
    free(groups);
    if (r) {
        json_decref(array);
        return r;
    }
    return json_object_set_new(body, "gids", array) < 0 ? report_no_memory() : STATUS_OK;
}

static int set_user(json_t *body, const struct cli *cli, const char *name)
{
    const struct passwd *user = getpwnam(name);
    uint64_t uid = user ? user->pw_uid : 0;

    if (!user && !parse_uid(name, &uid))
        return report_usage(cli->verb, "there is no user '%s'", name);
    if (!user)
        user = getpwuid((uid_t)uid);
    if (json_object_set_new(body, "uid", json_integer((json_int_t)uid)) < 0)
        return report_no_memory();
    return user ? set_groups(body, user) : STATUS_OK;
}

static int parse(struct question *question, const struct cli *cli,
                 const struct arguments *arguments)
{
    const char *user = arguments_value(arguments, "user");
    const char *peer = arguments_value(arguments, "peer");
    const char *listener = arguments_value(arguments, "listener");
    int r;

    question->body = json_object();
    if (!question->body)
        return report_no_memory();
    if (user && peer)
        return report_usage(cli->verb, "--user and --peer each say who: give one");
    if (listener && !user)
        return report_usage(cli->verb, "--listener goes with --user: a peer has its listener");
    r = parse_operands(question->body, cli, arguments);
    if (!r && peer)
        r = check_peer(cli->verb, peer);
    if (!r && peer)
        r = set_text(question->body, "peer", peer);
    if (!r && user)
        r = set_user(question->body, cli, user);
    if (!r && listener)
        r = set_text(question->body, "listener", listener);
    question->who = user ? user : peer;
    return r;
}

static void print_rule(const json_t *rule, bool allow)
{
    const char *reason = string_at(rule, "reason");

    if (!json_is_object(rule)) {
        fputs(allow ? "nothing forbids it" : "no rule of the policy allows it", stdout);
        return;
    }
    printf("%s, rule %" PRId64, string_at(rule, "file"), integer_at(rule, "index"));
    if (reason[0]) {
        fputs(": ", stdout);
        json_write_plain(stdout, reason, strlen(reason));
    }
}

/* "alice may not call org.example.Admin Shutdown: /etc/busd/system.json, rule 3" */
static int print_answer(const struct cli *cli, const struct question *question,
                        char *const *operands, const json_t *answer)
{
    bool allow = json_is_true(json_object_get(answer, "allow"));

    print_styled(cli, STYLE_HEADING, question->who ? question->who : "you", 0);
    printf(" may %s%s%s", allow ? "" : "not ", operands[0],
           strcmp(operands[0], "subscribe") == 0 ? " to" : "");
    for (size_t i = 1; operands[i]; i++)
        printf(" %s", operands[i]);
    fputs(": ", stdout);
    print_rule(json_object_get(answer, "rule"), allow);
    fputc('\n', stdout);
    return print_flush();
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    CLEANUP(question_deinit) struct question question = {0};
    CLEANUP(owned_bus) struct bus *bus = NULL;
    CLEANUP(owned_json) json_t *answer = NULL;
    int r;

    r = parse(&question, cli, arguments);
    if (!r)
        r = cli_connect(cli, &bus);
    if (!r)
        r = cli_call_bus(cli, bus, "Explain", TAKE(question.body), question.who, &answer);
    if (!r)
        r = cli->output == OUTPUT_READABLE
                ? print_answer(cli, &question, arguments->operands, answer)
                : print_json(cli, answer);
    if (r)
        return r;
    return json_is_true(json_object_get(answer, "allow")) ? STATUS_OK : STATUS_DENIED;
}

const struct command command_explain = {
    .name = "explain",
    .synopsis = "[--user USER | --peer NAME] ACTION...",
    .summary = "may somebody do this? and which rule decides",
    .help = "Asks the bus whether its policy lets somebody do something, and which rule\n"
            "decides. ACTION is one of\n"
            "\n"
            "  connect   own NAME   call NAME METHOD   publish TOPIC   subscribe TOPIC\n"
            "  monitor   manage\n"
            "\n"
            "  --user USER        for this user (name or number) and its groups. Before\n"
            "                     the verb --user still means the user's bus\n"
            "  --listener LABEL   ... who comes in through this listener\n"
            "  --peer NAME        for who owns this name now (default: for this program)\n"
            "\n"
            "Exit status 0 if it is allowed, 5 if not.\n"
            "\n"
            "Examples:\n"
            "  busctl-lite explain --user alice call org.example.Admin Shutdown\n"
            "  busctl-lite --system explain --peer :7 subscribe org.example.lamp\n",
    .options =
        (const struct option_row[]){
            {"user", "USER"}, {"listener", "LABEL"}, {"peer", "NAME"}, {NULL, NULL}},
    .operands_min = 1,
    .operands_max = 3,
    .run = run,
};
