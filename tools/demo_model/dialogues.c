// Small dialogues: two neighbours meet and talk, in the slots that story.c fills.
#include "dialogues.h"

static const char *talks[] = {
    "\"{Good morning|Hello}, [Cpal],\" said [Chero]. \"{What a [wday] day it is|It is a [wday] day"
    " today}.\"\n\n\"Good morning, [Chero],\" said [Cpal]. \"Yes, it is. Where are you going?\"\n\n"
    "\"I am going to the [place],\" said [Chero]. \"I want to {show everyone my [obj]|look for my "
    "[obj]|try out my new [obj]}. {Would you like to come|Do you want to come with me}?\"\n\n\"{I "
    "would love to|Yes, please}. {Wait a moment, I will get my {hat|coat|basket}|I will bring some "
    "{cake|"
    "bread|apples}},\" said [Cpal].\n\nSo they {walked|went} to the [place] together, and they "
    "{talked|laughed|sang} all the way.",
    "\"{Why are you so quiet today|You look sad}, [Chero]?\" asked [Cpal].\n\n\"My [obj] is "
    "{broken|lost|gone},\" said [Chero]. \"I {looked|tried} all morning, and nothing helped.\"\n\n"
    "\"{That is sad|I am sorry},\" said [Cpal]. \"But {two are better than one|I have time}. {Shall"
    " we try together|May I help you}?\"\n\n\"{Yes, please|That would be kind},\" said [Chero]. "
    "{They worked until noon|They were busy for an hour}, and then the [adj] [obj] was {there "
    "again|safe again}.\n\n\"{Thank you|I could not have done it alone},\" said "
    "[Chero].\n\n\"{That is what friends are for|You are welcome},\" said [Cpal].",
    "[Chero] and [Cpal] sat [spot1]. \"{What do you like best|What is the best thing in the world}?"
    "\" asked [Chero].\n\n[Cpal] thought {for a while|about it}. \"I like {the summer|a good story|"
    "the smell of rain|the stars at night|warm bread},\" [phe] said. \"And you?\"\n\n\"I like my "
    "[adj] [obj],\" said [Chero]. \"{But I like talking to you even more|But a friend is better "
    "still}.\"\n\n[Cpal] {smiled|laughed}. \"{That is a nice thing to say|Then I am lucky}.\"\n\n"
    "{The sun went down|The stars came out}, and they {sat there until it was dark|walked home side"
    " by side}.",
    "\"May I {borrow|use} your [obj], [Cpal]?\" asked [Chero].\n\n\"{What do you need it for|Why "
    "do you need it}?\" asked [Cpal].\n\n\"I want to [play],\" said [Chero]. \"{I will be very "
    "careful|I will bring it back tonight}.\"\n\n\"{Then you may have it|Of course you may},\" "
    "said [Cpal]."
    "\n\n[Chero] was {careful|very careful}, and in the evening [he] brought the [obj] back. \"{"
    "Thank you|Here it is, and here is a {cake|flower|shell} for you},\" [he] said.\n\n\"{You are "
    "welcome|You can borrow it any time},\" said [Cpal].",
};

const char *dialogues_any(struct teller *t)
{
    return talks[teller_below(t, COUNT(talks))];
}
