/* SPDX-License-Identifier: MIT */
/*
 * Configuration from files in a folder of the test's own: everything that can be said,
 * everything that can be said wrongly and where the message points, and which files
 * count in which order.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "busd/config.h"
#include "libbus/base/macros.h"
#include "tests/support/process.h"
#include "tests/support/unit.h"

static char folder[64];
static char reason[CONFIG_REASON_SIZE];
static unsigned open_before;

static int setup(void **state)
{
    open_before = process_open_fds(getpid());
    snprintf(folder, sizeof(folder), "/tmp/busd-config-XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return chdir("/") == 0 && system(command) == 0 && process_open_fds(getpid()) == open_before
               ? 0
               : -1;
}

/* Writes a file, making the folders of its path. */
static void put_bytes(const char *path, const char *data, size_t size)
{
    char copy[256];

    snprintf(copy, sizeof(copy), "%s", path);
    for (char *slash = strchr(copy, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(copy, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* The same, of a text with ' for ". */
static void put(const char *path, const char *text)
{
    char *copy = strdup(text);

    assert_non_null(copy);
    for (char *quote = copy; (quote = strchr(quote, '\'')); quote++)
        *quote = '"';
    put_bytes(path, copy, strlen(copy));
    free(copy);
}

static const char *const folders[] = {"etc", "usr"};

static bool load(struct config *config, bool system, const char *file)
{
    struct config_source source = {.system = system,
                                   .file = file,
                                   .folders = folders,
                                   .folder_count = file ? 0 : ARRAY_SIZE(folders)};

    snprintf(reason, sizeof(reason), "nothing");
    return config_load(config, &source, reason);
}

static struct config load_right(bool system, const char *file)
{
    struct config config;

    CHECK(load(&config, system, file), "%s", reason);
    return config;
}

/* ------------------------------------------------------------- what is wrong */

#define VERBS                                                                                      \
    "is no verb: there are connect, own, call, publish, subscribe, monitor, manage and \"*\" for " \
    "all"
#define RULE_KEYS                                                                                  \
    "it has allow or deny, user or uid, group or gid, listener, sender, name, to, method, topic "  \
    "and reason"
#define ADDRESSES "is none: write unix:/path, /path, unix:@abstract or fd:N"

/* A file and what is said about it, without the path; up to a final "…" if it has one. */
static const struct {
    const char *text;
    const char *expected;
} wrong[] = {
    {"", "1:0: …"},
    {"{", "1:1: …"},
    {"[]", "1:1: it must be an object"},
    {"\n\n  7", "3:3: …"},
    {"{'limits':{}} x", "1:15: end of file expected near 'x'"},
    {"{'limits':{},\n 'limits':{}}", "2:9: duplicate object key near '\"limits\"'"},
    {"{'policy':[{'allow':'own',\n'allow':'own'}]}", "2:7: duplicate object key near '\"allow\"'"},
    {"{'polcy':[]}", "1:2: there is no key 'polcy': there are limits, listeners, policy and state"},
    {"{'state':7}", "1:2: state: it must be the absolute path of a folder"},
    {"{\n 'state':'here'}", "2:2: state: it must be the absolute path of a folder"},
    {"{'limits':[]}", "1:2: limits: it must be an object"},
    {"{'limits':{'connections':'many'}}", "1:12: limit 'connections': it must be an integer"},
    {"{'limits':{'connections':-1}}", "1:12: limit 'connections': it must be an integer"},
    {"{'limits':{'connections':1.5}}", "1:12: limit 'connections': it must be an integer"},
    {"{'limits':{'connections':99999999999999999999}}", "1:45: too big integer …"},
    {"{\n  'limits': {\n    'conections': 1\n  }\n}",
     "3:5: limit 'conections': there is no such limit: there are connections, …"},
    {"{'limits':{'connections':0}}",
     "1:12: limit 'connections': the value is out of range: from 1 to 1000000"},
    {"{'limits':{'names':1,\n\t'queue_bytes':4095}}",
     "2:2: limit 'queue_bytes': the value is out of range: from 4096 to 1073741824"},
    {"{'listeners':{}}", "1:2: listeners: it must be an array"},
    {"{'listeners':[7]}", "1:15: a listener must be an object"},
    {"{'listeners':[{}]}", "1:15: a listener needs an address"},
    {"{'listeners':[{'address':''}]}", "1:16: address: it must be a string, and not empty"},
    {"{'listeners':[{'address':7}]}", "1:16: address: it must be a string, and not empty"},
    {"{'listeners':[{'address':'tcp:host'}]}", "1:16: address: 'tcp:host' " ADDRESSES},
    {"{'listeners':[{'address':'unix:@'}]}", "1:16: address: 'unix:@' " ADDRESSES},
    {"{'listeners':[{'address':'/a'},\n{'address':'unix:/a'}]}",
     "2:2: address: there is a listener on 'unix:/a' already"},
    {"{'listeners':[{'address':'/a','mode':'888'}]}",
     "1:31: mode: it must be a string of octal digits like \"0666\""},
    {"{'listeners':[{'address':'/a','mode':'01000'}]}",
     "1:31: mode: it must be a string of octal digits like \"0666\""},
    {"{'listeners':[{'address':'/a','mode':438}]}",
     "1:31: mode: it must be a string of octal digits like \"0666\""},
    {"{'listeners':[{'address':'/a','mode':''}]}",
     "1:31: mode: it must be a string of octal digits like \"0666\""},
    {"{'listeners':[{'address':'/a','owner':'no-such-user'}]}",
     "1:31: owner: there is no user 'no-such-user'"},
    {"{'listeners':[{'address':'/a','owner':-1}]}",
     "1:31: owner: it must be a user's name or number"},
    {"{'listeners':[{'address':'/a','owner':4294967295}]}",
     "1:31: owner: it must be a user's name or number"},
    {"{'listeners':[{'address':'/a','group':'no-such-group'}]}",
     "1:31: group: there is no group 'no-such-group'"},
    {"{'listeners':[{'address':'/a','group':true}]}",
     "1:31: group: it must be a group's name or number"},
    {"{'listeners':[{'address':'/a','label':''}]}",
     "1:31: label: it must be a string, and not empty"},
    {"{'listeners':[{'address':'/a','lable':'x'}]}",
     "1:31: a listener has no 'lable': it has address, mode, owner, group, label, limits and "
     "policy"},
    {"{'listeners':[{'address':'/a','limits':{'names':0}}]}",
     "1:41: limit 'names': the value is out of range: from 1 to 1000000"},
    {"{'listeners':[{'address':'/a','policy':[]}]}",
     "1:15: a listener with a policy needs a label, to know its clients by"},
    {"{'listeners':[{'address':'/a','label':'l',\n'policy':[{'allow':'own','listener':'m'}]}]}",
     "2:26: listener: the rules of a listener are about that listener"},
    {"{'listeners':[{'address':'/a','label':'l','policy':{}}]}",
     "1:43: policy: it must be an array of rules"},
    {"{'policy':{}}", "1:2: policy: it must be an array of rules"},
    {"{'policy':[7]}", "1:12: a rule must be an object"},
    {"{'policy':[{}]}", "1:12: a rule has either 'allow' or 'deny'"},
    {"{'policy':[{'allow':'*','deny':'*'}]}", "1:12: a rule has either 'allow' or 'deny'"},
    {"{'policy':[\n  {'allow':'*'},\n  {'deny':'fly'}\n]}", "3:4: 'fly' " VERBS},
    {"{'policy':[{'allow':['own','fly']}]}", "1:28: 'fly' " VERBS},
    {"{'policy':[{'allow':7}]}", "1:13: this " VERBS},
    {"{'policy':[{'allow':[]}]}", "1:13: there is no verb"},
    {"{'policy':[{'allow':'own','nmae':'a.b'}]}", "1:27: a rule has no 'nmae': " RULE_KEYS},
    {"{'policy':[{'allow':'own','name':7}]}", "1:27: name: it must be a string"},
    {"{'policy':[{'allow':'own','name':'a..b'}]}",
     "1:27: name: 'a..b' is no pattern: a segment is empty"},
    {"{'policy':[{'allow':'own','name':''}]}", "1:27: name: '' is no pattern: it is empty"},
    {"{'policy':[{'allow':'own','name':'a.#.b'}]}",
     "1:27: name: 'a.#.b' is no pattern: '#' may only be the last segment"},
    {"{'policy':[{'allow':'own','name':'a\\u0000b'}]}", "1:43: a text cannot have a \\u0000 in it"},
    {"{'policy':[{'allow':'own','to':'a.b'}]}", "1:27: to: it does not go with 'own'"},
    {"{'policy':[{'allow':['own','call'],'name':'a.b'}]}",
     "1:36: name: it does not go with 'call'"},
    {"{'policy':[{'allow':'call','topic':'a.b'}]}", "1:28: topic: it does not go with 'call'"},
    {"{'policy':[{'allow':'connect','sender':'a.b'}]}",
     "1:31: sender: it does not go with 'connect'"},
    {"{'policy':[{'allow':'*','method':'M'}]}", "1:25: method: it does not go with 'connect'"},
    {"{'policy':[{'allow':'own','user':'no-such-user'}]}",
     "1:27: user: there is no user 'no-such-user'"},
    {"{'policy':[{'allow':'own','user':true}]}", "1:27: user: it must be a user's name or number"},
    {"{'policy':[{'allow':'own','uid':1,'user':'root'}]}", "1:35: user: it is there already"},
    {"{'policy':[{'allow':'own','group':'no-such-group'}]}",
     "1:27: group: there is no group 'no-such-group'"},
    {"{'policy':[{'allow':'own','gid':4294967295}]}",
     "1:27: gid: it must be a group's name or number"},
    {"{'policy':[{'allow':'own','gid':1,'group':0}]}", "1:35: group: it is there already"},
    {"{'policy':[{'allow':'own','reason':7}]}", "1:27: reason: it must be a string"},
    {"{'policy':[{'allow':'own','listener':7}]}", "1:27: listener: it must be a string"},
    {"{'policy':[{'allow':'own'},\n {'deny':'own','listener':'sandbx'}],\n"
     "'listeners':[{'address':'/a','label':'sandbox'}]}",
     "2:16: listener: none has the label 'sandbx'"},
    {"{'policy':[{'allow':'own','name':'a.b'},,]}", "1:41: unexpected token near ','"},
    {"{'policy':[{'allow':'own','name':'\xff'}]}", "1:34: unable to decode byte 0xff …"},
};

static void expect_wrong(bool system, const char *file, const char *expected)
{
    const char *end = strstr(expected, "…");
    struct config config;
    char got[CONFIG_REASON_SIZE];

    if (load(&config, system, file)) {
        config_deinit(&config);
        fail_msg("%s was taken; expected: %s", file ? file : "it", expected);
    }
    snprintf(got, end ? (size_t)(end - expected) + 1 : sizeof(got), "%s", reason);
    if (end)
        assert_memory_equal(got, expected, (size_t)(end - expected));
    else
        assert_string_equal(got, expected);
}

static void test_wrong(void **state)
{
    char expected[CONFIG_REASON_SIZE];

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        put("file", wrong[i].text);
        snprintf(expected, sizeof(expected), "file:%s", wrong[i].expected);
        expect_wrong(false, "file", expected);
        expect_wrong(true, "file", expected);
    }
}

static void test_wrong_address_length(void **state)
{
    char text[256], expected[512], path[121];

    memset(path, 'a', sizeof(path) - 1);
    path[0] = '/';
    path[120] = '\0';
    snprintf(text, sizeof(text), "{'listeners':[{'address':'%s'}]}", path);
    put("file", text);
    snprintf(expected, sizeof(expected),
             "file:1:16: address: '%s' is longer than the 107 bytes a socket's path can have",
             path);
    expect_wrong(false, "file", expected);
}

static void test_missing(void **state)
{
    expect_wrong(false, "none.json", "none.json: No such file or directory");
    assert_int_equal(mkdir("folder.json", 0700), 0);
    expect_wrong(false, "folder.json", "folder.json: Is a directory");
}

/* ------------------------------------------------------------- what is right */

static void test_every_key(void **state)
{
    const struct passwd *user = getpwnam("nobody");
    const struct group *group = getgrnam("daemon");

    assert_non_null(user);
    assert_non_null(group);
    put("file", "{'limits': {'connections': 7, 'names': 3},\n"
                " 'listeners': [\n"
                "   {'address': 'unix:/a', 'mode': '0640', 'owner': 'nobody', 'group': 'daemon',\n"
                "    'label': 'one', 'limits': {'names': 2}, 'policy': [{'deny': 'own'}]},\n"
                "   {'address': '/b', 'owner': 17, 'group': 18, 'mode': '7'}],\n"
                " 'policy': [\n"
                "   {'allow': 'connect'},\n"
                "   {'allow': ['own', 'call'], 'user': 'nobody', 'group': 'daemon',\n"
                "    'listener': 'one', 'sender': 'a.#', 'reason': 'so'},\n"
                "   {'allow': 'own', 'name': 'a.*', 'uid': 0, 'gid': 4294967294},\n"
                "   {'deny': 'call', 'to': 'a.b', 'method': 'M'},\n"
                "   {'deny': ['publish', 'subscribe'], 'topic': 't.#'},\n"
                "   {'deny': '*'}]}");
    struct config config = load_right(false, "file");
    assert_int_equal(config.limits.connections, 7);
    assert_int_equal(config.limits.names, 3);
    assert_int_equal(config.listener_count, 2);

    const struct config_listener *one = &config.listeners[0], *two = &config.listeners[1];
    assert_string_equal(one->address, "unix:/a");
    assert_string_equal(one->label, "one");
    assert_int_equal(one->mode, 0640);
    assert_int_equal(one->owner, user->pw_uid);
    assert_int_equal(one->group, group->gr_gid);
    assert_int_equal(one->limits.names, 2);
    assert_int_equal(one->limits.connections, 7);
    assert_string_equal(two->address, "/b");
    assert_string_equal(two->label, "");
    assert_int_equal(two->mode, 07);
    assert_int_equal(two->owner, 17);
    assert_int_equal(two->group, 18);
    assert_int_equal(two->limits.names, 3);

    /* A listener's own rules come first. */
    const struct policy_rule *rules = config.policy->rules;
    assert_int_equal(config.policy->count, 7);
    assert_string_equal(rules[0].label, "one");
    assert_string_equal(rules[0].file, "file, listener one");
    assert_int_equal(rules[0].index, 1);
    assert_int_equal(rules[0].verbs, 1u << POLICY_OWN);
    assert_string_equal(rules[1].file, "file");
    assert_int_equal(rules[1].index, 1);
    assert_true(rules[1].allow);
    assert_int_equal(rules[2].index, 2);
    assert_int_equal(rules[2].verbs, 1u << POLICY_OWN | 1u << POLICY_CALL);
    assert_int_equal(rules[2].uid, user->pw_uid);
    assert_int_equal(rules[2].gid, group->gr_gid);
    assert_string_equal(rules[2].label, "one");
    assert_string_equal(rules[2].sender, "a.#");
    assert_string_equal(rules[2].reason, "so");
    assert_string_equal(rules[3].name, "a.*");
    assert_true(rules[3].has_uid && rules[3].uid == 0);
    assert_true(rules[3].has_gid && rules[3].gid == 4294967294u);
    assert_string_equal(rules[4].to, "a.b");
    assert_string_equal(rules[4].method, "M");
    assert_false(rules[4].allow);
    assert_string_equal(rules[5].topic, "t.#");
    assert_int_equal(rules[6].verbs, (1u << POLICY_VERB_COUNT) - 1);
    config_deinit(&config);
}

static void test_defaults(void **state)
{
    struct config config;

    put("file", "{'listeners': [{'address': '/a'}], 'policy': [{'allow': '*'}]}");
    config = load_right(false, "file");
    assert_int_equal(config.listeners[0].mode, 0600);
    assert_true(config.listeners[0].owner == (uid_t)-1 && config.listeners[0].group == (gid_t)-1);
    assert_int_equal(config.limits.names, 512);
    config_deinit(&config);
    config = load_right(true, "file");
    assert_int_equal(config.listeners[0].mode, 0666);
    assert_int_equal(config.limits.names, 64);
    config_deinit(&config);
}

/* Who may do what when nobody has said so: all on a user's bus, and on a system bus it
 * must be said. */
static void test_no_policy(void **state)
{
    struct config config = load_right(false, NULL);

    assert_int_equal(config.policy->count, 1);
    assert_string_equal(config.policy->rules[0].file, "built-in");
    assert_true(config.policy->rules[0].allow);
    config_deinit(&config);
    put("file", "{}");
    config = load_right(false, "file");
    assert_int_equal(config.policy->count, 1);
    config_deinit(&config);
    expect_wrong(true, "file", "a system bus needs a policy: there is none in file");
    expect_wrong(true, NULL,
                 "a system bus needs a policy: there is none in any configuration file");
    put("file", "{'policy':[]}");
    expect_wrong(true, "file", "file: policy: it has no rules, so nobody could connect");
    expect_wrong(false, "file", "file: policy: it has no rules, so nobody could connect");
}

/* A listener's rules alone close that one and leave the rest of a user's bus open. */
static void test_listener_policy_alone(void **state)
{
    put("file",
        "{'listeners':[{'address':'/a','label':'l','policy':[{'deny':'own'}]},{'address':'/b'}]}");
    struct config config = load_right(false, "file");
    assert_int_equal(config.policy->count, 2);
    assert_string_equal(config.policy->rules[0].label, "l");
    assert_string_equal(config.policy->rules[1].file, "built-in");
    config_deinit(&config);
}

/* ------------------------------------------------------------ which files */

/* The files of the rules, in order, separated by spaces. */
static const char *order_of(const struct config *config)
{
    static char text[1024];
    size_t size = 0;

    text[0] = '\0';
    for (size_t i = 0; i < config->policy->count; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s", i ? " " : "",
                                 config->policy->rules[i].file);
    return text;
}

#define RULE "{'policy':[{'allow':'*'}]}"

static void expect_order(bool system, const char *expected)
{
    struct config config = load_right(system, NULL);

    assert_string_equal(order_of(&config), expected);
    config_deinit(&config);
}

static void test_main_file(void **state)
{
    put("usr/user.json", RULE);
    put("usr/system.json", RULE);
    expect_order(false, "usr/user.json");
    expect_order(true, "usr/system.json");
    put("etc/user.json", RULE);
    expect_order(false, "etc/user.json");
    expect_order(true, "usr/system.json");
}

static void test_drop_ins(void **state)
{
    put("usr/user.json", RULE);
    put("usr/policy.d/20-b.json", RULE);
    put("usr/policy.d/10-a.json", RULE);
    put("etc/policy.d/15-c.json", RULE);
    put("usr/conf.d/12-d.json", RULE);
    put("usr/conf.d/20-b.json", RULE);
    expect_order(false, "usr/policy.d/10-a.json usr/conf.d/12-d.json etc/policy.d/15-c.json "
                        "usr/conf.d/20-b.json usr/policy.d/20-b.json usr/user.json");
    /* The same name in an earlier folder stands in for it … */
    put("etc/policy.d/20-b.json", RULE);
    put("etc/policy.d/10-a.json", RULE);
    expect_order(false, "etc/policy.d/10-a.json usr/conf.d/12-d.json etc/policy.d/15-c.json "
                        "usr/conf.d/20-b.json etc/policy.d/20-b.json usr/user.json");
    /* … and an empty one for nothing, or a link to /dev/null. */
    put("etc/policy.d/10-a.json", "");
    assert_int_equal(symlink("/dev/null", "etc/conf.d"), 0);
    unlink("etc/conf.d");
    assert_int_equal(mkdir("etc/conf.d", 0700), 0);
    assert_int_equal(symlink("/dev/null", "etc/conf.d/12-d.json"), 0);
    expect_order(false, "etc/policy.d/15-c.json usr/conf.d/20-b.json etc/policy.d/20-b.json "
                        "usr/user.json");
}

static void test_not_drop_ins(void **state)
{
    put("usr/user.json", RULE);
    put("usr/policy.d/a.json~", "{");
    put("usr/policy.d/.b.json", "{");
    put("usr/policy.d/.json", "{");
    put("usr/policy.d/README", "{");
    put("usr/policy.d/c.json.dpkg-new", "{");
    expect_order(false, "usr/user.json");
}

/* Drop-ins are enough; a named file counts with nothing beside it. */
static void test_drop_ins_alone(void **state)
{
    put("etc/policy.d/a.json", RULE);
    expect_order(true, "etc/policy.d/a.json");
    put("file", RULE);
    struct config config = load_right(true, "file");
    assert_string_equal(order_of(&config), "file");
    config_deinit(&config);
}

static void test_bad_drop_in(void **state)
{
    put("usr/user.json", RULE);
    put("usr/policy.d/b.json", "{'policy':\n[{'allow':'fly'}]}");
    expect_wrong(false, NULL, "usr/policy.d/b.json:2:3: 'fly' is no verb…");
}

/* Rules that cannot be read are not rules that are not there. */
static void test_unreadable_folder(void **state)
{
    put("usr/user.json", RULE);
    put("usr/policy.d", "no folder");
    expect_wrong(false, NULL, "usr/policy.d: Not a directory");
}

static void test_later_limits_count(void **state)
{
    const char *const limits[] = {"calls=9"};
    struct config_source source = {
        .folders = folders, .folder_count = 2, .limits = limits, .limit_count = 1};
    struct config config;

    put("usr/user.json", "{'limits':{'names':1,'calls':1,'subscriptions':1}}");
    put("usr/conf.d/a.json", "{'limits':{'names':2,'calls':2}}");
    put("usr/conf.d/b.json", "{'limits':{'names':3}}");
    assert_true(config_load(&config, &source, reason));
    assert_int_equal(config.limits.names, 3);
    assert_int_equal(config.limits.subscriptions, 1);
    assert_int_equal(config.limits.calls, 9);
    config_deinit(&config);
}

static void test_addresses(void **state)
{
    const char *const addresses[] = {"/x", "/y"};
    struct config_source source = {.file = "file", .address = "/default"};
    struct config config;

    put("file", "{'listeners':[{'address':'/a','label':'l'}],"
                "'policy':[{'deny':'own','listener':'l'}]}");
    assert_true(config_load(&config, &source, reason));
    assert_int_equal(config.listener_count, 1);
    assert_string_equal(config.listeners[0].address, "/a");
    config_deinit(&config);
    source.addresses = addresses;
    source.address_count = 2;
    assert_true(config_load(&config, &source, reason));
    assert_int_equal(config.listener_count, 2);
    assert_string_equal(config.listeners[0].address, "/x");
    assert_string_equal(config.listeners[1].address, "/y");
    assert_string_equal(config.listeners[0].label, "");
    config_deinit(&config);
    source.address_count = 0;
    put("file", "{}");
    assert_true(config_load(&config, &source, reason));
    assert_int_equal(config.listener_count, 1);
    assert_string_equal(config.listeners[0].address, "/default");
    config_deinit(&config);
    source.address = NULL;
    assert_true(config_load(&config, &source, reason));
    assert_int_equal(config.listener_count, 0);
    config_deinit(&config);
}

/* --------------------------------------------------------- unusual files */

static void test_deep_nesting(void **state)
{
    char *text = malloc(40000);
    size_t size = 0;

    assert_non_null(text);
    for (const char *head = "{\"limits\":"; *head; head++)
        text[size++] = *head;
    for (unsigned i = 0; i < 1000; i++)
        text[size++] = '[';
    for (unsigned i = 0; i < 1000; i++)
        text[size++] = ']';
    text[size++] = '}';
    put_bytes("file", text, size);
    expect_wrong(false, "file", "file:1:2: limits: it must be an object");
    size = 10;
    memset(text + size, '[', 30000);
    put_bytes("file", text, size + 30000);
    expect_wrong(false, "file", "file:1:…");
    free(text);
}

static void test_huge(void **state)
{
    static char text[DOCUMENT_BYTES_MAX + 2];

    memset(text, ' ', sizeof(text));
    memcpy(text, "{}", 2);
    put_bytes("file", text, DOCUMENT_BYTES_MAX);
    struct config config = load_right(false, "file");
    config_deinit(&config);
    put_bytes("file", text, DOCUMENT_BYTES_MAX + 1);
    expect_wrong(false, "file", "file: it is larger than 1 MiB");
}

/* Every beginning of a file is wrong but the whole, and none does harm. */
static void test_truncated(void **state)
{
    static const char text[] =
        "{\"limits\":{\"names\":1},\n\"listeners\":[{\"address\":\"/a\",\"label\":\"l\","
        "\"policy\":[{\"allow\":[\"own\"],\"name\":\"a.#\"}]}],\n"
        "\"policy\":[{\"allow\":\"*\",\"reason\":\"\xc3\xa4\"}]}";
    struct config config;

    for (size_t size = 0; size < sizeof(text) - 1; size++) {
        put_bytes("file", text, size);
        assert_false(load(&config, true, "file"));
        assert_memory_equal(reason, "file:", 5);
    }
    put_bytes("file", text, sizeof(text) - 1);
    config = load_right(true, "file");
    config_deinit(&config);
}

/* Any byte of it replaced by any of these: taken or refused with a place, never worse. */
static void test_broken_bytes(void **state)
{
    static const char text[] =
        "{\"listeners\":[{\"address\":\"/a\",\"label\":\"l\",\"policy\":[{\"deny\":\"own\"}]}],"
        "\"policy\":[{\"allow\":\"*\",\"uid\":5}]}";
    static const char bytes[] = "\"{}[]:,0\\\n\xff#";
    struct config config;
    char copy[sizeof(text)];

    for (size_t i = 0; i < sizeof(text) - 1; i++)
        for (size_t j = 0; j < sizeof(bytes); j++) {
            memcpy(copy, text, sizeof(text));
            copy[i] = bytes[j];
            put_bytes("file", copy, sizeof(text) - 1);
            if (load(&config, true, "file"))
                config_deinit(&config);
            else
                assert_memory_equal(reason, "file:", 5);
        }
}

static void test_reason_has_room(void **state)
{
    char text[2048], name[1024];

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    snprintf(text, sizeof(text), "{'%s':1}", name);
    put("file", text);
    expect_wrong(false, "file", "file:1:2: there is no key 'xxx…");
    assert_true(strlen(reason) < sizeof(reason));
    snprintf(text, sizeof(text), "{'policy':[{'allow':'own','name':'%s'}]}", name);
    put("file", text);
    expect_wrong(false, "file", "file:1:27: name: 'xxx…");
    assert_non_null(strstr(reason, "it is longer than 255 bytes"));
}

static void test_limit_arguments(void **state)
{
    static const char *const bad[] = {"",         "names",    "names=",  "names=x",
                                      "names=-1", "names=1x", "nams=1",  "names=0",
                                      "names= 1", "=1",       "names=+1"};

    assert_true(config_check_limit("names=1", reason));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!config_check_limit(bad[i], reason), "'%s' is taken for a limit", bad[i]);
    assert_false(config_check_limit("names=x", reason));
    assert_string_equal(reason, "'names=x' is no limit: it must be NAME=NUMBER, like "
                                "connections=100");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wrong),
        TEST(test_wrong_address_length),
        TEST(test_missing),
        TEST(test_every_key),
        TEST(test_defaults),
        TEST(test_no_policy),
        TEST(test_listener_policy_alone),
        TEST(test_main_file),
        TEST(test_drop_ins),
        TEST(test_not_drop_ins),
        TEST(test_drop_ins_alone),
        TEST(test_bad_drop_in),
        TEST(test_unreadable_folder),
        TEST(test_later_limits_count),
        TEST(test_addresses),
        TEST(test_deep_nesting),
        TEST(test_huge),
        TEST(test_truncated),
        TEST(test_broken_bytes),
        TEST(test_reason_has_room),
        TEST(test_limit_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
