// The program as its users meet it: run as a process of its own, with its streams in files, pipes
// or closed. Uses the build/MODE/rondo that lies above this test, and the demo model beside it.
#include "support.h"

#include "tiny_model.h"

#include "app/verbs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char program[PATH_MAX];

struct outcome {
    int code; // exit code, 128 + signal
    char *out, *err;
    size_t n_out;
};

struct process {
    pid_t pid;
    int in, out; // ends of its pipes; -1: none
};

enum stream { TO_PIPE, TO_FILE, CLOSED, FULL };

static void open_stream(enum stream how, int fd, int pipe_end, const char *file)
{
    int f = -1;
    if (how == TO_PIPE)
        f = pipe_end;
    else if (how == TO_FILE)
        f = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
    else if (how == FULL)
        f = open("/dev/full", O_WRONLY);
    if (how == CLOSED)
        close(fd);
    else if (f < 0 || dup2(f, fd) < 0)
        _exit(99);
}

// Starts the program with words separated by '|'. Its standard input is a pipe, its errors go to a
// file.
static struct process start(const char *line, enum stream out)
{
    static char words[4096];
    char *argv[64] = {program};
    int in_pipe[2], out_pipe[2], argc = 1;
    snprintf(words, sizeof words, "%s", line);
    for (char *w = strtok(words, "|"); w; w = strtok(NULL, "|"))
        argv[argc++] = w;
    assert_int_equal(pipe2(in_pipe, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out_pipe, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        open_stream(TO_PIPE, 0, in_pipe[0], NULL);
        open_stream(TO_FILE, 2, -1, test_file("err"));
        open_stream(out, 1, out_pipe[1], test_file("out")); // last: it may leave a hole
        execve(program, argv, environ);
        _exit(98);
    }
    close(in_pipe[0]);
    close(out_pipe[1]);
    return (struct process){pid, in_pipe[1], out_pipe[0]};
}

static void finish(struct outcome *o, struct process *p)
{
    int status;
    if (p->in >= 0)
        close(p->in);
    if (p->out >= 0)
        close(p->out);
    while (waitpid(p->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    o->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (!o->out)
        o->out = (char *)test_read(test_file("out"), &o->n_out);
    o->err = (char *)test_read(test_file("err"), NULL);
}

// Runs it to its end, with `input` on standard input.
static struct outcome rondo(const char *line, const char *input)
{
    struct outcome o = {0};
    struct process p = start(line, TO_FILE);
    if (input)
        assert_int_equal(write(p.in, input, strlen(input)), strlen(input));
    finish(&o, &p);
    return o;
}

static void outcome_free(struct outcome *o)
{
    free(o->out);
    free(o->err);
}

static void expect(const char *line, const char *input, int code, const char *out, const char *err)
{
    struct outcome o = rondo(line, input);
    if (o.code != code || (out && !strstr(o.out, out)) || (err && !strstr(o.err, err)))
        fail_msg("rondo %s: exit code %d, said \"%s\" and \"%s\"", line, o.code, o.out, o.err);
    if (code == 0 && *o.err)
        fail_msg("rondo %s: all went well but it said \"%s\"", line, o.err);
    if (code > 0 && code < 6) { // one sentence
        const char *end = strchr(o.err, '\n');
        if (strncmp(o.err, "rondo: ", 7) || !end || end[1])
            fail_msg("rondo %s: \"%s\" is not one line", line, o.err);
    }
    outcome_free(&o);
}

static json_t *json_of(const char *line, const char *input)
{
    struct outcome o = rondo(line, input);
    json_error_t error;
    json_t *json = json_loadb(o.out, o.n_out, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (o.code || !json)
        fail_msg("rondo %s: exit code %d, %s: %s", line, o.code, error.text, o.err);
    outcome_free(&o);
    return json;
}

static const char *string_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    if (!text)
        fail_msg("no string %s", key);
    return text;
}

static const char *tiny(int context)
{
    const char *path = test_file("tiny.gguf");
    struct tiny_model t = {.seed = 3, .context = context, .n_layers = 1};
    tiny_model_write(path, &t);
    return path;
}

static void help_goes_to_standard_output(void **state)
{
    (void)state;
    char line[64], usage[128];
    expect("", NULL, 0, "Usage: rondo VERB", NULL);
    expect("help", NULL, 0, "Usage: rondo VERB", NULL);
    expect("help|help", NULL, 0, "Usage: rondo VERB", NULL);
    expect("--help", NULL, 0, "Usage: rondo VERB", NULL);
    for (int i = 0; verbs[i]; i++) {
        snprintf(usage, sizeof usage, "Usage: rondo %s", verbs[i]->name);
        snprintf(line, sizeof line, "help|%s", verbs[i]->name);
        expect(line, NULL, 0, usage, NULL);
        snprintf(line, sizeof line, "%s|--help", verbs[i]->name);
        expect(line, NULL, 0, usage, NULL);
    }
    expect("version", NULL, 0, "rondo " RONDO_VERSION "\n", NULL);
    expect("--version", NULL, 0, "rondo " RONDO_VERSION "\n", NULL);
}

static void wrong_usage_is_a_sentence_and_code_2(void **state)
{
    (void)state;
    expect("rnu", NULL, 2, NULL, "did you mean 'rondo run'?");
    expect("help|nothing", NULL, 2, NULL, "no verb 'nothing'");
    expect("--nonsense", NULL, 2, NULL, "unknown option --nonsense");
    expect("run", NULL, 2, NULL, "MODEL [PROMPT]");
    expect("run|demo|a|b", NULL, 2, NULL, "needs quotes");
    expect("run|demo|--tmep=1", NULL, 2, NULL, "--temp");
    expect("run|demo|x|--raw|--system|y", NULL, 2, NULL, "use one of the two");
    expect("bench", NULL, 2, NULL, "MODEL");
    expect("perplexity|demo|x|--ctx|1|--scoring|every", NULL, 2, NULL, "use 2 or more");
    expect("perplexity|demo|x|--ctx|2", NULL, 2, NULL, "use 3 or more");
}

static void what_is_no_model_is_refused(void **state)
{
    (void)state;
    char line[PATH_MAX + 64];
    test_write(test_file("text.gguf"), "not a model", 11);
    expect("run|/nowhere/m.gguf|x", NULL, 1, NULL, "/nowhere/m.gguf");
    snprintf(line, sizeof line, "run|%s|x", test_file("text.gguf"));
    expect(line, NULL, 1, NULL, "text.gguf");
    snprintf(line, sizeof line, "bench|%s", test_folder());
    expect(line, NULL, 1, NULL, NULL);
    snprintf(line, sizeof line, "perplexity|%s|/nowhere/text", tiny(64));
    expect(line, NULL, 1, NULL, "/nowhere/text");
}

static void the_demo_model_tells_its_story(void **state)
{
    (void)state;
    expect("run|demo|Tell me a story about a rabbit and an umbrella.|--temp|0", NULL, 0,
           "Once upon a time", NULL);
    expect("run|demo|What is Rondo?|--temp=0", NULL, 0, "Rondo", NULL);
}

static void a_piped_prompt_is_the_same_prompt(void **state)
{
    (void)state;
    struct outcome word = rondo("run|demo|What is Rondo?|--temp|0", NULL);
    struct outcome piped = rondo("run|demo|--temp|0", "What is Rondo?\n");
    struct outcome dash = rondo("run|demo|-|--temp|0", "What is Rondo?");
    assert_string_equal(word.out, piped.out);
    assert_string_equal(word.out, dash.out);
    assert_int_equal(word.out[word.n_out - 1], '\n');
    outcome_free(&word);
    outcome_free(&piped);
    outcome_free(&dash);
    expect("run|demo|-n|3", "", 0, "", NULL); // an empty turn is a turn
}

static void json_says_everything_and_the_same_each_time(void **state)
{
    (void)state;
    static const char *const ways[] = {"", "|-t|1", "|-t|2|-b|1", "|-b|7", "|--seed|4"};
    char line[256], *text = NULL, *hash = NULL;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        snprintf(line, sizeof line,
                 "run|demo|Tell me a story about a pirate.|--json|--temp|0|-n|40%s", ways[i]);
        json_t *j = json_of(line, NULL);
        assert_int_equal(json_array_size(json_object_get(j, "tokens")), 40);
        assert_string_equal(string_of(j, "stop"), "length");
        assert_int_equal(strlen(string_of(j, "logits_sha256")), 64);
        json_t *timings = json_object_get(j, "timings");
        assert_true(json_real_value(json_object_get(timings, "ttft_ms")) > 0);
        assert_true(json_real_value(json_object_get(timings, "tpot_ms")) > 0);
        assert_true(json_array_size(json_object_get(j, "prompt_tokens")) > 5);
        assert_true(json_is_object(json_object_get(j, "plan")));
        if (text) {
            assert_string_equal(string_of(j, "text"), text);
            assert_string_equal(string_of(j, "logits_sha256"), hash);
        } else {
            text = strdup(string_of(j, "text"));
            hash = strdup(string_of(j, "logits_sha256"));
        }
        json_decref(j);
    }
    free(text);
    free(hash);
}

static void a_seed_repeats_what_the_dice_said(void **state)
{
    (void)state;
    const char *line = "run|demo|Tell me a story.|--temp|1.5|--json|-n|30|--seed|%d";
    char *first = NULL;
    for (int i = 0; i < 3; i++) {
        char with_seed[128];
        snprintf(with_seed, sizeof with_seed, line, i == 2 ? 6 : 5);
        json_t *j = json_of(with_seed, NULL);
        if (i == 0)
            first = strdup(string_of(j, "text"));
        else
            assert_int_equal(!strcmp(first, string_of(j, "text")), i == 1);
        json_decref(j);
    }
    free(first);
}

static void a_full_context_ends_with_code_4(void **state)
{
    (void)state;
    const char *story = "run|demo|Tell me a story about a rabbit.|--temp|0|--ctx|40";
    struct outcome o = rondo(story, NULL);
    assert_int_equal(o.code, 4);
    assert_non_null(strstr(o.out, "Once upon a time")); // what there was is kept
    assert_non_null(strstr(o.err, "--ctx"));
    outcome_free(&o);
    expect("run|demo|Tell me a story about a rabbit and an umbrella.|--ctx|8", NULL, 4, "",
           "--ctx");
    expect("run|demo|Tell me a story.|-n|0", NULL, 0, "", NULL);
}

static void a_prompt_longer_than_the_training_is_not_sent_to_a_larger_context(void **state)
{
    (void)state;
    char prompt[2048];
    memset(prompt, '1', sizeof prompt - 1); // a token each
    prompt[sizeof prompt - 1] = 0;
    struct outcome o = rondo("run|demo|--raw", prompt);
    assert_int_equal(o.code, 4);
    assert_non_null(strstr(o.err, "trained for 512; shorten it"));
    assert_null(strstr(o.err, "--ctx"));
    outcome_free(&o);
    setenv("XDG_STATE_HOME", test_folder(), 1);
    o = rondo("run|demo|--raw|--workers|1|--listen|127.0.0.1:0", prompt);
    assert_int_equal(o.code, 4); // without waiting for a worker
    assert_null(strstr(o.err, "rondo join"));
    outcome_free(&o);
}

static void text_is_continued_as_it_is(void **state)
{
    (void)state;
    json_t *j = json_of("run|demo|--raw|--temp|0|-n|8|--json", "Once upon a");
    assert_int_equal(strncmp(string_of(j, "text"), " time", 5), 0);
    assert_true(json_is_false(json_object_get(j, "chat")));
    json_decref(j);
}

static bool is_utf8(const char *text, size_t n)
{
    json_t *s = json_stringn(text, n); // jansson takes nothing else
    json_decref(s);
    return s != NULL;
}

// A model of random weights at the highest temperature: mostly lone bytes.
static void nonsense_is_printed_as_utf8(void **state)
{
    (void)state;
    char line[PATH_MAX + 128];
    for (int seed = 0; seed < 3; seed++) {
        snprintf(line, sizeof line,
                 "run|%s|x|-n|200|--temp|100|--top-k|0|--top-p|1|--min-p|0|--seed|%d", tiny(512),
                 seed);
        struct outcome o = rondo(line, NULL);
        assert_int_equal(o.code, 0);
        assert_true(is_utf8(o.out, o.n_out));
        outcome_free(&o);
        strcat(line, "|--json");
        json_decref(json_of(line, NULL));
    }
}

static void a_reader_that_leaves_ends_the_answer_quietly(void **state)
{
    (void)state;
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "run|%s|x|--temp|0|--ctx|100000", tiny(100000));
    struct process p = start(line, TO_PIPE);
    struct outcome o = {.out = strdup("")};
    char byte;
    assert_int_equal(read(p.out, &byte, 1), 1);
    finish(&o, &p);
    assert_int_equal(o.code, 0);
    assert_null(strstr(o.err, "Broken pipe"));
    outcome_free(&o);
}

// The answer may be over before the signal comes: then it is asked for again.
static void ctrl_c_keeps_what_was_said(void **state)
{
    (void)state;
    static char text[1 << 22]; // more than a pipe holds: what was said before the signal comes, too
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "run|%s|x|--temp|0|--ctx|100000", tiny(100000));
    for (int i = 0, code = 0; code != 130; i++) {
        struct process p = start(line, TO_PIPE);
        struct outcome o = {0};
        ssize_t n = 0, got;
        assert_int_equal(read(p.out, text, 1), 1);
        kill(p.pid, SIGINT);
        while ((got = read(p.out, text + n, sizeof text - (size_t)n)) > 0)
            n += got;
        o.out = strndup(text, (size_t)n);
        finish(&o, &p);
        code = o.code;
        assert_true(code == 130 || (code == 0 && i < 100));
        assert_true(n > 0 && text[n - 1] == '\n');
        outcome_free(&o);
    }
}

static void lost_output_is_told(void **state)
{
    (void)state;
    static const char *const lines[] = {"help", "version", "version|--json", "help|run",
                                        "run|demo|What is Rondo?|--temp|0"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        for (int how = 0; how < 2; how++) {
            struct process p = start(lines[i], how ? FULL : CLOSED);
            struct outcome o = {.out = strdup("")};
            finish(&o, &p);
            if (o.code != 1 || !strstr(o.err, "cannot write to standard output"))
                fail_msg("rondo %s: exit code %d, said \"%s\"", lines[i], o.code, o.err);
            outcome_free(&o);
        }
    }
}

static void measurements_are_json(void **state)
{
    (void)state;
    json_t *j = json_of("bench|--hops|--json|--payload|4K", NULL);
    assert_int_equal(json_integer_value(json_object_get(j, "payload_bytes")), 4096);
    assert_true(json_real_value(json_object_get(json_object_get(j, "loops"), "p50_us")) > 0);
    json_decref(j);
    j = json_of("perplexity|demo|-|--json|--ctx|32|--scoring|every",
                "Once upon a time there was a little rabbit. She was happy.");
    assert_true(json_real_value(json_object_get(j, "perplexity")) > 1);
    assert_string_equal(string_of(j, "scoring"), "every");
    json_decref(j);
    j = json_of("version|--json", NULL);
    assert_true(*string_of(j, "commit"));
    json_decref(j);
    j = json_of("measure|demo|--json", NULL);
    json_t *disk = json_object_get(j, "disk"), *dram = json_object_get(j, "dram");
    assert_true(*string_of(disk, "chosen"));
    assert_int_equal(json_array_size(json_object_get(disk, "ways")), 3);
    assert_true(json_real_value(json_object_get(dram, "read_gbps")) > 0);
    assert_true(*string_of(json_object_get(j, "machine"), "processor"));
    json_decref(j);
}

// A long text of which a pass takes a while: what is interrupted is a pass, not what lies between.
static void ctrl_c_ends_a_perplexity_with_the_figure_so_far(void **state)
{
    (void)state;
    enum { BYTES = 4 << 20 };
    char *text = malloc(BYTES), line[PATH_MAX + 64], byte;
    for (int i = 0; i < BYTES; i++)
        text[i] = "Once upon a time. "[i % 18];
    test_write(test_file("long.txt"), text, BYTES);
    free(text);
    snprintf(line, sizeof line, "perplexity|demo|%s|--ctx|64|-b|32", test_file("long.txt"));
    struct process p = start(line, TO_PIPE);
    struct outcome o = {.out = strdup("")};
    usleep(400000); // it runs for minutes
    kill(p.pid, SIGINT);
    bool figure = read(p.out, &byte, 1) == 1;
    finish(&o, &p);
    assert_int_equal(o.code, 130);
    assert_true(figure || !*o.err); // nothing at all when it had not begun to compute
    assert_null(strstr(o.err, "interrupted"));
    outcome_free(&o);
}

static void ctrl_c_ends_a_bench_with_what_there_is(void **state)
{
    (void)state;
    struct process p = start("bench|demo|-p|512|-n|128|-r|1000|-o|json", TO_FILE);
    struct outcome o = {0};
    usleep(2500000); // it runs for minutes
    kill(p.pid, SIGINT);
    finish(&o, &p);
    assert_int_equal(o.code, 130);
    if (o.n_out) { // else it had measured nothing yet
        json_t *j = json_loads(o.out, JSON_REJECT_DUPLICATES, NULL);
        assert_true(json_is_true(json_object_get(j, "interrupted")));
        assert_true(json_array_size(json_object_get(j, "tests")) > 0);
        json_decref(j);
    }
    outcome_free(&o);
}

// How many files in the test's folder have a name that begins with `prefix`.
static int count_files(const char *prefix)
{
    int n = 0;
    DIR *d = opendir(test_folder());
    assert_non_null(d);
    for (struct dirent *f; (f = readdir(d));)
        n += !strncmp(f->d_name, prefix, strlen(prefix));
    closedir(d);
    return n;
}

static void a_signal_leaves_nothing_of_a_model_that_is_written(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM};
    char line[PATH_MAX + 64];
    snprintf(line, sizeof line, "synth|%s|--layers|6", test_file("half.gguf")); // 0.6 GB
    for (int i = 0; i < 2; i++) {
        struct process p = start(line, TO_FILE);
        struct outcome o = {0};
        int status;
        while (!count_files("half") && !waitpid(p.pid, &status, WNOHANG))
            usleep(1000);
        assert_true(count_files("half")); // else it ended before it began
        kill(p.pid, signals[i]);
        finish(&o, &p);
        assert_int_equal(o.code, 130);
        assert_string_equal(o.out, "");
        assert_int_equal(count_files("half"), 0);
        outcome_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_goes_to_standard_output),
        cmocka_unit_test(wrong_usage_is_a_sentence_and_code_2),
        cmocka_unit_test(what_is_no_model_is_refused),
        cmocka_unit_test(the_demo_model_tells_its_story),
        cmocka_unit_test(a_piped_prompt_is_the_same_prompt),
        cmocka_unit_test(json_says_everything_and_the_same_each_time),
        cmocka_unit_test(a_seed_repeats_what_the_dice_said),
        cmocka_unit_test(a_full_context_ends_with_code_4),
        cmocka_unit_test(a_prompt_longer_than_the_training_is_not_sent_to_a_larger_context),
        cmocka_unit_test(text_is_continued_as_it_is),
        cmocka_unit_test(nonsense_is_printed_as_utf8),
        cmocka_unit_test(a_reader_that_leaves_ends_the_answer_quietly),
        cmocka_unit_test(ctrl_c_keeps_what_was_said),
        cmocka_unit_test(lost_output_is_told),
        cmocka_unit_test(measurements_are_json),
        cmocka_unit_test(ctrl_c_ends_a_perplexity_with_the_figure_so_far),
        cmocka_unit_test(ctrl_c_ends_a_bench_with_what_there_is),
        cmocka_unit_test(a_signal_leaves_nothing_of_a_model_that_is_written),
    };
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 16);
    for (int up = 0; up < 3 && n > 0; up++) // build/MODE/tests/app/test_verbs
        while (n > 0 && program[--n] != '/')
            ;
    strcpy(program + n, "/rondo");
    test_folder(); // before there are children
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
