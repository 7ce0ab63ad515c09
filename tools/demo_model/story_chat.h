// A chat about a story: the user asks for one, hears it and asks about it.
#pragma once

#include "teller.h"

enum { STORY_CHAT_LIMIT = 1700 }; // bytes of text after which nobody asks on

void story_chat(struct teller *t);
