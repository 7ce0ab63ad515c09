// Commands of a conversation at the terminal: a line each in the table below.
#include "app/printable.h"
#include "app/talk_state.h"

#include <dirent.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
    const char *name, *operand, *help;
    void (*run)(struct talk *t, char *operand); // never NULL, without blanks around it
};

// ---- settings ----------------------------------------------------------------------------------

static const struct setting {
    const char *name;
    enum option_id option;
    bool may_be_off; // what was given can be taken away
} settings[] = {
    {"temp", OPT_TEMP, false},
    {"top_k", OPT_TOP_K, false},
    {"top_p", OPT_TOP_P, false},
    {"min_p", OPT_MIN_P, false},
    {"repeat_penalty", OPT_REPEAT_PENALTY, false},
    {"seed", OPT_SEED, true},
    {"tokens", OPT_TOKENS, true},
    {"think", OPT_THINK, false},
    {"ctx_shift", OPT_CTX_SHIFT, false},
    {"timings", OPT_VERBOSE, false},
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

static void format_value(const struct options *o, const struct setting *s, char *out, size_t size)
{
    const struct option_spec *spec = &option_table[s->option];
    if (s->may_be_off && !options_given(o, s->option))
        snprintf(out, size, "off");
    else if (spec->type == OPTION_FLAG)
        snprintf(out, size, "%s", options_flag(o, s->option) ? "on" : "off");
    else if (spec->type == OPTION_ENUM)
        snprintf(out, size, "%s", spec->names[options_enum(o, s->option)]);
    else if (spec->type == OPTION_INT)
        snprintf(out, size, "%lld", (long long)options_int(o, s->option));
    else
        snprintf(out, size, "%g", options_float(o, s->option));
}

static void show_settings(struct talk *t)
{
    char line[512] = "", value[TALK_VALUE_BYTES];
    for (size_t i = 0, n = 0; i < N_SETTINGS; i++) {
        format_value(&t->options, &settings[i], value, sizeof value);
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%s %s", i ? ", " : "", settings[i].name,
                              value);
    }
    talk_say(t, "settings  %s", line);
}

static const struct setting *find_setting(const char *name)
{
    for (size_t i = 0; i < N_SETTINGS; i++) {
        size_t k = 0; // top-k is top_k
        while (name[k] &&
               (name[k] == settings[i].name[k] || (name[k] == '-' && settings[i].name[k] == '_')))
            k++;
        if (!name[k] && !settings[i].name[k])
            return &settings[i];
    }
    return NULL;
}

static void set(struct talk *t, char *operand)
{
    struct err e = {0};
    char *value = operand + strcspn(operand, " ");
    if (!*operand) {
        show_settings(t);
        return;
    }
    if (*value)
        *value++ = 0;
    value += strspn(value, " ");
    const struct setting *s = find_setting(operand);
    bool off = s && s->may_be_off && !strcmp(value, "off");
    if (!s) {
        char quoted[40];
        err_quote(quoted, sizeof quoted, operand, (int)strnlen(operand, sizeof quoted));
        talk_say(t, "There is no setting %s; /set lists them.", quoted);
    } else if (options_change(&t->options, s->option, s->name, off ? NULL : value, &e) ||
               (s->option == OPT_THINK &&
                conversation_set_think(t->c, (enum think)options_enum(&t->options, OPT_THINK), &e)))
        talk_say(t, "%s", e.text);
    t->timings = options_flag(&t->options, OPT_VERBOSE);
}

// ---- sessions ----------------------------------------------------------------------------------

static int is_session(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 8 && d->d_name[0] != '.' && !strcmp(d->d_name + n - 8, ".session");
}

static void list_sessions(struct talk *t)
{
    char path[SAVED_PATH_BYTES], line[1024] = "";
    struct dirent **found = NULL;
    struct err e = {0};
    if (saved_path(path, "x", &e)) {
        talk_say(t, "%s", e.text);
        return;
    }
    int n = scandir(dirname(path), &found, is_session, alphasort);
    for (int i = 0; i < n; i++) {
        size_t length = strlen(found[i]->d_name) - 8, used = strlen(line);
        if (used + length + 3 < sizeof line)
            snprintf(line + used, sizeof line - used, "%s%.*s", used ? ", " : "", (int)length,
                     found[i]->d_name);
        free(found[i]);
    }
    free(found);
    talk_say(t, *line ? "Saved sessions: %s" : "No session is saved yet.%s", line);
}

static void save(struct talk *t, char *name)
{
    char path[SAVED_PATH_BYTES];
    struct err e = {0};
    if (!*name)
        name = t->name;
    if (!*name) {
        talk_say(t, "/save wants a name for the session.");
        return;
    }
    int rc = saved_path(path, name, &e);
    bool other = !rc && access(path, F_OK) == 0 && strcmp(name, t->name);
    if (other && !talk_ask(t, "There is a session of that name; replace it?", false))
        return;
    if (!rc)
        rc = conversation_save(t->c, path, &e);
    if (rc) {
        talk_say(t, "%s", e.text);
        return;
    }
    talk_say(t, "Saved as %s, %zu tokens.", name, conversation_tokens(t->c));
    if (name != t->name)
        snprintf(t->name, sizeof t->name, "%s", name);
}

static void load(struct talk *t, char *name)
{
    char path[SAVED_PATH_BYTES];
    struct conversation_found found;
    struct err e = {0};
    if (!*name) {
        list_sessions(t);
        return;
    }
    int rc = saved_path(path, name, &e);
    if (!rc)
        rc = conversation_load(t->c, path, &found, &e);
    if (rc == 1)
        talk_say(t, "There is no session %s; /load lists them.", name);
    else if (rc)
        talk_say(t, "%s", e.text);
    if (rc)
        return;
    snprintf(t->name, sizeof t->name, "%s", name);
    size_t turns = conversation_turns(t->c);
    if (*found.note)
        talk_say(t, "Loaded %s, %zu %s. It is computed again with the next turn: %s.", name, turns,
                 turns == 1 ? "turn" : "turns", found.note);
    else
        talk_say(t, "Loaded %s, %zu %s, %zu tokens; nothing need be computed again.", name, turns,
                 turns == 1 ? "turn" : "turns", found.n_tokens);
}

// ---- the others --------------------------------------------------------------------------------

static void clear(struct talk *t, char *operand)
{
    (void)operand;
    conversation_clear(t->c);
    *t->name = 0;
    talk_say(t, "Forgotten; the conversation begins anew.");
}

static void set_system(struct talk *t, char *text)
{
    struct err e = {0};
    const char *now = conversation_system(t->c);
    if (!*text) {
        talk_say(t, now ? "system    %s" : "There is no system message.%s", now ? now : "");
        return;
    }
    bool none = !strcmp(text, "\"\"");
    if (conversation_set_system(t->c, none ? NULL : text, &e))
        talk_say(t, "%s", e.text);
}

static void show(struct talk *t, char *operand)
{
    const char *name = model_hparams(t->loaded->model)->name, *system = conversation_system(t->c);
    (void)operand;
    talk_say(t, "model     %s, %s", *name ? name : "without a name", t->loaded->path);
    talk_say(t, "runs on   %s", t->loaded->pipeline->info.description);
    talk_say(t, "context   %zu of %zu tokens", conversation_tokens(t->c), conversation_room(t->c));
    if (conversation_chats(t->c))
        talk_say(t, "turns     %zu", conversation_turns(t->c));
    if (*t->name)
        talk_say(t, "session   %s", t->name);
    if (system)
        talk_say(t, "system    %s", system);
    show_settings(t);
}

static void quit(struct talk *t, char *operand)
{
    (void)operand;
    t->over = true;
}

static void help(struct talk *t, char *operand);

static const struct command commands[] = {
    {"help", "", "this list", help},
    {"clear", "", "forget what was said; the system message and the settings stay", clear},
    {"save", "NAME", "keep the conversation, with its state in memory", save},
    {"load", "NAME", "go on with one that was kept; without a name, list them", load},
    {"system", "TEXT", "tell the model who it is; \"\" takes it away", set_system},
    {"set", "OPTION VALUE", "change a setting; without one, show them", set},
    {"show", "", "the model, how full the context is, the settings", show},
    {"quit", "", "end; so do /bye and Ctrl-D", quit},
    {"bye", NULL, NULL, quit},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void help(struct talk *t, char *operand)
{
    (void)operand;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char left[40];
        snprintf(left, sizeof left, "/%s %s", commands[i].name,
                 commands[i].operand ? commands[i].operand : "");
        if (commands[i].help)
            talk_say(t, "  %-20s  %s", left, commands[i].help);
    }
    talk_say(t,
             "Ctrl-C stops an answer. A line that ends with \\ goes on in the next; \"\"\" opens "
             "and closes\na block of lines. A message that begins with a slash: write // or a "
             "blank in front.");
}

void talk_command(struct talk *t, const char *line)
{
    char *copy = strdup(line + 1), *operand = NULL, quoted[40];
    const char *names[N_COMMANDS];
    if (!copy) {
        talk_say(t, "There is no memory for this command.");
        return;
    }
    size_t length = strcspn(copy, " \n");
    operand = copy + length + strspn(copy + length, " \n");
    copy[length] = 0;
    for (size_t n = strlen(operand); n && strchr(" \n", operand[n - 1]); n--)
        operand[n - 1] = 0;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i].name;
        if (!strcmp(copy, commands[i].name)) {
            commands[i].run(t, operand);
            free(copy);
            return;
        }
    }
    const char *near = options_nearest(copy, names, N_COMMANDS);
    err_quote(quoted, sizeof quoted, copy, (int)strnlen(copy, sizeof quoted));
    talk_say(t,
             "There is no command /%s; %s%s. To send it as a message write // or a blank in front.",
             quoted, near ? "did you mean /" : "/help lists them", near ? near : "");
    free(copy);
}
