// Which source this binary was made of.
#pragma once

// "27f652f", with "+changes" behind it when the tree was not as committed; "unknown" outside of
// git.
const char *version_commit(void);
