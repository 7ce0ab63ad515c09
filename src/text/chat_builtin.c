// Templates of our own, for models that carry none: one per family, chosen by tokens that only this
// family has. They say what the family's own templates say for plain conversations; those that know
// tools show the format in which chat_format.c finds the calls. Families whose turns are plain text
// (Llama 2, Vicuna, Zephyr) cannot be told from models that do not converse: they go by name only.
#include "text/chat_state.h"

#include <string.h>

#define TOOLS_AS_JSON "{% for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor %}"

static const char chatml[] =
    "{% set first = messages[0] if messages and messages[0].role == 'system' else none %}"
    "{% if tools %}{{ '<|im_start|>system\\n' }}"
    "{% if first %}{{ first.content + '\\n\\n' }}{% endif %}"
    "{{ 'You may call these functions, given as JSON within <tools></tools>:\\n<tools>' "
    "}}" TOOLS_AS_JSON
    "{{ '\\n</tools>\\n\\nTo call one, write a JSON object with its name and arguments:\\n"
    "<tool_call>\\n{\"name\": NAME, \"arguments\": ARGUMENTS}\\n</tool_call><|im_end|>\\n' }}"
    "{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'tool' %}"
    "{% if loop.first or loop.previtem.role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
    "{{ '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}"
    "{% if loop.last or loop.nextitem.role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif %}"
    "{% elif not (tools and loop.first and m.role == 'system') %}"
    "{{ '<|im_start|>' + m.role + '\\n' + (m.content or '') }}"
    "{% for call in m.tool_calls or [] %}"
    "{{ '\\n<tool_call>\\n{\"name\": \"' + call.function.name + '\", \"arguments\": ' +"
    " (call.function.arguments | tojson) + '}\\n</tool_call>' }}"
    "{% endfor %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

static const char phi4[] =
    "{% for m in messages %}"
    "{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}";

static const char llama3[] =
    "{{ bos_token }}"
    "{% set first = messages[0].content + '\\n\\n'"
    " if messages and messages[0].role == 'system' else '' %}"
    "{% if tools %}{{ '<|start_header_id|>system<|end_header_id|>\\n\\n' + first +"
    " 'You may call these functions. To call one, write nothing but a JSON object of the form "
    "{\"name\": NAME, \"parameters\": ARGUMENTS}.\\n' }}" TOOLS_AS_JSON
    "{{ '<|eot_id|>' }}{% endif %}"
    "{% for m in messages %}{% if not (tools and loop.first and m.role == 'system') %}"
    "{{ '<|start_header_id|>' + ('ipython' if m.role == 'tool' else m.role) +"
    " '<|end_header_id|>\\n\\n' + (m.content or '') | trim }}"
    "{% for call in m.tool_calls or [] %}{{ ('; ' if not loop.first else '') + '{\"name\": \"' +"
    " call.function.name + '\", \"parameters\": ' + (call.function.arguments | tojson) + '}' }}"
    "{% endfor %}{{ '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";

static const char llama2[] =
    "{% set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n'"
    " if messages and messages[0].role == 'system' else '' %}"
    "{% set turns = messages[1:] if system else messages %}"
    "{% for m in turns %}"
    "{% if (m.role == 'user') != loop.index is odd %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
    "{% if m.role == 'user' %}"
    "{{ bos_token + '[INST] ' + (system if loop.first else '') + m.content | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}"
    "{% endfor %}";

static const char mistral[] =
    "{{ bos_token }}"
    "{% set system = messages[0].content + '\\n\\n'"
    " if messages and messages[0].role == 'system' else '' %}"
    "{% set turns = messages[1:] if system else messages %}"
    "{% set ns = namespace(last=none) %}"
    "{% for m in turns %}{% if m.role == 'user' %}{% set ns.last = loop.index %}{% endif %}{% "
    "endfor %}"
    "{% for m in turns %}"
    "{% if m.role == 'user' %}"
    "{% if tools and loop.index == ns.last %}{{ '[AVAILABLE_TOOLS]' + (tools | tojson) + "
    "'[/AVAILABLE_TOOLS]' "
    "}}"
    "{% endif %}"
    "{{ '[INST]' + (system if loop.index == ns.last else '') + m.content + '[/INST]' }}"
    "{% elif m.role == 'tool' %}"
    "{{ '[TOOL_RESULTS]{\"content\": ' + (m.content | tojson) + ', \"call_id\": \"' +"
    " m.tool_call_id + '\"}[/TOOL_RESULTS]' }}"
    "{% else %}{{ m.content or '' }}"
    "{% for call in m.tool_calls or [] %}"
    "{{ ('[TOOL_CALLS][' if loop.first else ', ') + '{\"name\": \"' + call.function.name +"
    " '\", \"arguments\": ' + (call.function.arguments | tojson) + ', \"id\": \"' + call.id +"
    " '\"}' + (']' if loop.last else '') }}{% endfor %}"
    "{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{# ids have length != 9 #}";

static const char gemma[] =
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' +"
    " m.content | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";

static const char phi3[] =
    "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

static const char zephyr[] = "{% for m in messages %}"
                             "{{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}"
                             "{% endfor %}"
                             "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

static const char vicuna[] =
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content + '\\n\\n' }}"
    "{% elif m.role == 'user' %}{{ 'USER: ' + m.content + '\\n' }}"
    "{% else %}{{ 'ASSISTANT: ' + m.content + eos_token + '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";

static const char deepseek[] =
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}"
    "{% elif m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% else %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}";

static const char granite[] =
    "{% if tools %}{{ '<|start_of_role|>available_tools<|end_of_role|>' + (tools | tojson) +"
    " '<|end_of_text|>\\n' }}{% endif %}"
    "{% for m in messages %}"
    "{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + (m.content or '') }}"
    "{% for call in m.tool_calls or [] %}"
    "{{ ('<|tool_call|>[' if loop.first else ', ') + '{\"name\": \"' + call.function.name +"
    " '\", \"arguments\": ' + (call.function.arguments | tojson) + '}' +"
    " (']' if loop.last else '') }}{% endfor %}"
    "{{ '<|end_of_text|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}";

static const char harmony[] =
    "{{ '<|start|>system<|message|>You are a helpful assistant.\\n"
    "Current date: ' + strftime_now('%Y-%m-%d') + '\\n\\nReasoning: ' +"
    " (reasoning_effort or 'medium') + '\\n\\n"
    "# Valid channels: analysis, commentary, final. Channel must be included for every message.' }}"
    "{% if tools %}{{ '\\nCalls to these tools must go to the commentary channel: "
    "\\'functions\\'.' }}"
    "{% endif %}{{ '<|end|>' }}"
    "{% set system = messages[0].content if messages and messages[0].role == 'system' else '' %}"
    "{% if system or tools %}{{ '<|start|>developer<|message|>' }}"
    "{% if system %}{{ '# Instructions\\n\\n' + system + '\\n\\n' }}{% endif %}"
    "{% if tools %}{{ '# Tools\\n\\n## functions\\n\\nnamespace functions {\\n' }}"
    "{% for tool in tools %}{{ '\\n// ' + (tool.function.description or '') + '\\n// ' +"
    " (tool.function.parameters | tojson) + '\\ntype ' + tool.function.name +"
    " ' = (_: object) => any;\\n' }}{% endfor %}"
    "{{ '\\n} // namespace functions' }}{% endif %}{{ '<|end|>' }}{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}"
    "{% elif m.role == 'tool' %}{{ '<|start|>functions.' + (m.name or 'tool') +"
    " ' to=assistant<|channel|>commentary<|message|>' + m.content + '<|end|>' }}"
    "{% elif m.role == 'assistant' and m.tool_calls %}"
    "{% if m.thinking %}"
    "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
    "{% for call in m.tool_calls %}"
    "{{ '<|start|>assistant to=functions.' + call.function.name +"
    " '<|channel|>commentary json<|message|>' + (call.function.arguments | tojson) + '<|call|>' }}"
    "{% endfor %}"
    "{% elif m.role == 'assistant' %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}";

struct builtin {
    const char *name;
    const char *tokens[3]; // all of which the vocabulary has; none: by name only
    const char *source;
    size_t length;
};
#define SOURCE(text) text, sizeof text - 1
static const struct builtin builtins[] = {
    // more special tokens first
    {"harmony", {"<|channel|>", "<|message|>", "<|start|>"}, SOURCE(harmony)},
    {"phi4", {"<|im_start|>", "<|im_sep|>", "<|im_end|>"}, SOURCE(phi4)},
    {"chatml", {"<|im_start|>", "<|im_end|>"}, SOURCE(chatml)},
    {"llama3", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}, SOURCE(llama3)},
    {"gemma", {"<start_of_turn>", "<end_of_turn>"}, SOURCE(gemma)},
    {"deepseek", {"<｜User｜>", "<｜Assistant｜>"}, SOURCE(deepseek)},
    {"granite", {"<|start_of_role|>", "<|end_of_role|>"}, SOURCE(granite)},
    {"mistral", {"[INST]", "[/INST]", "[TOOL_CALLS]"}, SOURCE(mistral)},
    {"phi3", {"<|user|>", "<|assistant|>", "<|end|>"}, SOURCE(phi3)},
    {"llama2", {NULL}, SOURCE(llama2)},
    {"vicuna", {NULL}, SOURCE(vicuna)},
    {"zephyr", {NULL}, SOURCE(zephyr)},
};
enum { N_BUILTINS = sizeof builtins / sizeof *builtins };

struct gguf_string chat_builtin(const char *name)
{
    for (size_t i = 0; i < N_BUILTINS; i++)
        if (!strcmp(builtins[i].name, name))
            return (struct gguf_string){.text = builtins[i].source, .length = builtins[i].length};
    return (struct gguf_string){0};
}

const char *chat_builtin_name(size_t i)
{
    return i < N_BUILTINS ? builtins[i].name : NULL;
}

// As control tokens: nobody's words may become them.
static bool has(const struct vocab *v, const char *token)
{
    int32_t id = vocab_find(v, token);
    return id >= 0 && vocab_is_control(v, id);
}

const char *chat_builtin_for(const struct vocab *v)
{
    for (size_t i = 0; i < N_BUILTINS; i++) {
        const char *const *tokens = builtins[i].tokens;
        if (tokens[0] && has(v, tokens[0]) && has(v, tokens[1]) &&
            (!tokens[2] || has(v, tokens[2])))
            return builtins[i].name;
    }
    return NULL;
}
