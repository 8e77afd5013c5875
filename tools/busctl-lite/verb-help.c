/* SPDX-License-Identifier: MIT */
#include "tools/busctl-lite/help.h"

#include <stdio.h>
#include <string.h>

#include "tools/busctl-lite/command.h"
#include "tools/busctl-lite/owned.h"
#include "tools/busctl-lite/print.h"
#include "tools/busctl-lite/report.h"

static const struct {
    const char *name;
    const char *text;
} pages[] = {
    {"exit-status",
     "Exit status of busctl-lite, the same for every verb\n"
     "\n"
     "  0  all went well\n"
     "  1  the other side answered with an error, or something failed here\n"
     "  2  the command line is wrong\n"
     "  3  there is no connection: it could not be made, or it was lost\n"
     "  4  there is no such name, or no such method\n"
     "  5  denied\n"
     "  6  the time was up\n"
     "  7  a limit was reached, or something is too large\n"
     "  8  nobody received it\n"
     "  9  something is not valid JSON, or breaks the protocol\n"
     "\n"
     "run-session returns the status of the command it runs; 126 and 127 when that\n"
     "could not be started, 128 + N when signal N ended it.\n"
     "\n"
     "What the other side says is printed on stderr, as a sentence on a terminal,\n"
     "else as JSON: {\"error\":\"org.example.Full\",\"message\":\"the book is full\"}\n"},
    {"body", "A body on the command line of busctl-lite\n"
             "\n"
             "  (nothing)          null\n"
             "  JSON               one JSON value, such as '{\"a\":1}', 42 or '\"text\"'\n"
             "  key=value ...      an object; the values are strings\n"
             "  key:=json ...      an object; the values are JSON. Both kinds can be mixed\n"
             "  @FILE              the JSON in a file\n"
             "  -                  the JSON on stdin\n"
             "\n"
             "Examples:\n"
             "  busctl-lite publish org.example.lamp colour=warm level:=80\n"
             "  busctl-lite publish org.example.lamp '{\"colour\":\"warm\",\"level\":80}'\n"},
};

int help_overview(void)
{
    printf("Usage: busctl-lite [OPTION...] VERB [ARGUMENT...]\n");
    for (size_t i = 0; command_at(i); i++)
        printf("  %-12s %s\n", command_at(i)->name, command_at(i)->summary);
    printf("\n"
           "  --user, --system, --address ADDR   the bus ($BUSD_ADDRESS, else the user's)\n"
           "  --timeout SEC                      how long to wait, 0.5 or 10; 0: for ever\n"
           "  --json=short|pretty|off            the form of the output (off: for people)\n"
           "  --quiet, --version, --help         see also 'help body' and 'help exit-status'\n");
    return print_flush();
}

int help_command(const struct command *command)
{
    printf("Usage: busctl-lite %s%s%s\n\n%s", command->name, command->synopsis[0] ? " " : "",
           command->synopsis, command->help);
    return print_flush();
}

int help_version(void)
{
    printf("busctl-lite " BUSD_VERSION "\n");
    return print_flush();
}

static int run(struct cli *cli, const struct arguments *arguments)
{
    const struct command *command;
    const char *topic = arguments->operands[0];
    int r;

    if (!topic)
        return help_overview();
    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        if (strcmp(pages[i].name, topic) != 0)
            continue;
        fputs(pages[i].text, stdout);
        return print_flush();
    }
    r = command_find(topic, &command);
    return r ? r : help_command(command);
}

const struct command command_help = {
    .name = "help",
    .synopsis = "[VERB | body | exit-status]",
    .summary = "this page, or all about a verb",
    .help = "Prints what 'busctl-lite VERB --help' prints, or one of two pages about what\n"
            "several verbs have in common: 'body' and 'exit-status'.\n",
    .operands_max = 1,
    .run = run,
};
