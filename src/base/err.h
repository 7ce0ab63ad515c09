// Errors of the outside world (files, sockets, users).
//
// A function that can fail returns 0 or a negative code and fills its last parameter where the
// cause is known. Callers pass it on untouched: the first cause wins. The text is one sentence for
// the user: what happened, why, what to do. The exit code of the program is the code negated.
#pragma once

enum {
    ERR_FAILED = -1,      // anything without a code of its own
    ERR_USAGE = -2,       // the command line, the configuration
    ERR_UNREACHABLE = -3, // a peer that is not there, or no longer
    ERR_NO_MEMORY = -4,   // memory, budget, context
    ERR_DENIED = -5,      // permissions, secrets, fingerprints
};

struct err {
    int code; // 0 while nothing has gone wrong
    char text[508];
};

// Sets `e` unless it is set already; `e` may be NULL. Returns `code`, so that failing is one line:
//     return err_set(e, ERR_FAILED, "%s: not a GGUF file; ...", path);
int err_set(struct err *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

// As err_set, with ": <strerror(errno)>" behind the formatted text.
int err_errno(struct err *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Text of a name or string that came from outside, made safe to print: every byte that is not
// printable ASCII becomes a question mark, and it is cut at the size of `out`. Returns `out`.
char *err_quote(char *out, int out_size, const char *text, int length);
