// Formats of tool calls and reasoning as tables: see chat_format.h. A new format that is made of
// the same parts is a new row. More special signs come first: some templates quote the format of
// others.
#include "text/chat_format.h"

#include <string.h>

static const struct chat_format formats[] = {
    {.name = "harmony", .signs = {"<|channel|>", "<|message|>"}, .payload = CALLS_HARMONY},
    {.name = "kimi",
     .signs = {"<|tool_call_begin|>", "<|tool_call_argument_begin|>"},
     .payload = CALLS_NAMED,
     .open = {"<|tool_call_begin|>"},
     .close = "<|tool_call_end|>",
     .separator = "<|tool_call_argument_begin|>",
     .silent = {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"}},
    {.name = "deepseek",
     .signs = {"<｜tool▁call▁begin｜>"},
     .payload = CALLS_NAMED,
     .open = {"<｜tool▁call▁begin｜>"},
     .close = "<｜tool▁call▁end｜>",
     .separator = "<｜tool▁sep｜>",
     .silent = {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"}},
    {.name = "mistral",
     .signs = {"[TOOL_CALLS]"},
     .payload = CALLS_NAMED,
     .open = {"[TOOL_CALLS]"},
     .separator = "[ARGS]",
     .silent = {"[CALL_ID]"}},
    {.name = "glm",
     .signs = {"<arg_key>", "<tool_call>"},
     .payload = CALLS_PAIRS,
     .open = {"<tool_call>"},
     .close = "</tool_call>"},
    {.name = "seed",
     .signs = {"seed:tool_call", "<function="},
     .payload = CALLS_TAGS,
     .open = {"<seed:tool_call>"},
     .close = "</seed:tool_call>",
     .tag = "<function="},
    {.name = "tags",
     .signs = {"<function=", "<parameter="},
     .payload = CALLS_TAGS,
     .open = {"<tool_call>", "<function="},
     .close = "</tool_call>",
     .tag = "<function="},
    {.name = "functions", // Llama 3.1's own tools, functionary
     .signs = {"<function=", "</function>"},
     .payload = CALLS_TAGS,
     .open = {"<function="},
     .tag = "<function="},
    {.name = "apertus",
     .signs = {"<|tools_prefix|>"},
     .payload = CALLS_KEYED,
     .open = {"<|tools_prefix|>"},
     .close = "<|tools_suffix|>"},
    {.name = "command-r7b",
     .signs = {"<|START_ACTION|>"},
     .payload = CALLS_JSON,
     .open = {"<|START_ACTION|>"},
     .close = "<|END_ACTION|>"},
    {.name = "command-r",
     .signs = {"\\nAction:\\n```json\\n"},
     .payload = CALLS_JSON,
     .open = {"Action:\n```json", "Action: ```json"},
     .close = "```"},
    {.name = "apriel",
     .signs = {"<tool_calls>", "</tool_calls>"},
     .payload = CALLS_JSON,
     .open = {"<tool_calls>"},
     .close = "</tool_calls>"},
    {.name = "granite",
     .signs = {"<|start_of_role|>", "<|tool_call|>"},
     .payload = CALLS_JSON,
     .open = {"<|tool_call|>", "<tool_call>"},
     .close = "</tool_call>"},
    {.name = "hermes",
     .signs = {"<tool_call>"},
     .payload = CALLS_JSON,
     .open = {"<tool_call>"},
     .close = "</tool_call>"},
    {.name = "phi4",
     .signs = {"<|tool|>", "<|/tool|>"},
     .payload = CALLS_JSON,
     .open = {"<|tool_call|>"},
     .close = "<|/tool_call|>"},
    {.name = "llama3",
     .signs = {"<|start_header_id|>", "\"parameters\": "},
     .payload = CALLS_JSON,
     .open = {"<|python_tag|>"},
     .bare = true},
    {.name = "functools", .signs = {" functools["}, .payload = CALLS_JSON, .open = {"functools"}},
};
static const struct chat_format no_format = {.name = "none"};

static const struct chat_thinking thinkings[] = {
    {"<think>", "</think>", {"<response>", "</response>"}},
    {"[THINK]", "[/THINK]", {NULL}},
    {"<seed:think>", "</seed:think>", {NULL}},
    {"<|START_THINKING|>", "<|END_THINKING|>", {"<|START_RESPONSE|>", "<|END_RESPONSE|>"}},
    {"<|inner_prefix|>", "<|inner_suffix|>", {NULL}},
    {"Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", {"[END FINAL RESPONSE]"}},
};

bool chat_mentions(struct gguf_string source, const char *text)
{
    return source.text && memmem(source.text, source.length, text, strlen(text));
}

const struct chat_format *chat_format_of(struct gguf_string source)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const char *const *s = formats[i].signs;
        if (chat_mentions(source, s[0]) && (!s[1] || chat_mentions(source, s[1])))
            return &formats[i];
    }
    return &no_format;
}

const struct chat_thinking *chat_thinking_of(struct gguf_string source, const struct vocab *v)
{
    size_t n = sizeof thinkings / sizeof *thinkings;
    for (size_t i = 0; i < n; i++)
        if (chat_mentions(source, thinkings[i].close))
            return &thinkings[i];
    for (size_t i = 0; i < n; i++)
        if (vocab_find(v, thinkings[i].open) >= 0 && vocab_find(v, thinkings[i].close) >= 0)
            return &thinkings[i];
    return NULL;
}
