// Small talk: greetings, questions about Rondo, and what such a small model does not know.
#pragma once

#include "teller.h"

void small_talk(struct teller *t);     // a whole chat
void small_talk_any(struct teller *t); // one exchange about anything
void small_talk_greeting(struct teller *t);
void small_talk_thanks(struct teller *t);
void small_talk_bye(struct teller *t);
