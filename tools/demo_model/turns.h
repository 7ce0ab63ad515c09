// Turns of a chat, in ChatML.
#pragma once

#include "teller.h"

void turns_open(struct teller *t, const char *role);
void turns_close(struct teller *t);
void turns_say(struct teller *t, const char *role, const char *template);
// A question of the user and the assistant's answer.
void turns_exchange(struct teller *t, const char *question, const char *answer);
