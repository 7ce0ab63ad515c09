// The plots. A tale goes on from "Once upon a time, there was ..." (story.c) and uses these
// slots: hero and pal (with a, A: introduced with their kind), he, him, his and phe, phim, phis,
// obj and aobj, play, mend, reach, place, where, at, spot1 to spot3, day, weather, and br for a
// new paragraph.
#include "plots.h"

#include "words.h"

static const struct plot plots[] = {
    {"lost", 0, 0, 0,
     "[owns] [day], [hero] {woke up and saw|noticed} that the [obj] was {gone|missing}. "
     "{[weather] |}[br]"
     "\"{Oh no|Oh dear}! Where is my [obj]?\" [said] [hero]. [He] looked [spot1], but it was not "
     "there. {Then [he]|[He] also} looked [spot2], but {there was nothing|it was not there "
     "either|[he] found only {a pebble|an old leaf|a beetle}}. [Hero] {felt|was} [sad].[br]"
     "{Then|After a while,|Just then} [apal] came {along|by}. [asked] \"{I have lost my|I cannot "
     "find my} [adj] [obj],\" [hero] {said|answered}. \"{Do not worry|Do not be sad}. {Let us look "
     "together|I will help you look|We will find it together},\" said [pal]. They {searched|looked}"
     " {high and low|everywhere|for a long time}, and {at last|in the end} [pal] found the [obj] "
     "[spot3]. \"{Thank you|Thank you so much|You are a true friend}!\" said [hero]. [glad]",
     "[Hero] lost the [obj].", "[Pal] found the [obj] [spot3].",
     "{two can find what one cannot|a friend is the best help|it is good to ask for help}"},

    {"stuck", LIGHT, 0, FLY | CLIMB | TALL,
     "[owns] [day], [hero] {went out|went outside} to [play]. {[weather] |}Suddenly {a strong wind|"
     "a gust of wind} {took|caught|carried away} the [obj] and {blew|carried} it {to the top of a "
     "tall tree|into a high tree|onto a high roof}.[br]"
     "[Hero] jumped as high as [he] could, but [he] could not reach it. {Then [he] threw a small "
     "stick, but it fell down again.|Then [he] tried a long stick, but it was too short.|Then [he] "
     "stood on a big stone, but that did not help.} [He] {felt|was} [sad].[br]"
     "{Then|After a while,|Just then} [apal] {came along|came by}. [asked] \"My [obj] is stuck "
     "{up there|high above us},\" said [hero]. \"{I can help you|That is easy for me|Let me try},\""
     " said [pal]. [Phe] [reach] and brought the [obj] down. \"{Thank you|Thank you so much|You "
     "are wonderful}!\" said [hero]. [glad]",
     "The wind carried the [obj] away, and [hero] could not reach it.",
     "[Pal] [reach] and brought the [obj] down.",
     "{everyone is good at something|nobody can do everything alone|a friend can reach what you "
     "cannot}"},

    {"broken", BREAKS, 0, 0,
     "[owns] [day], [hero] {tripped over a {stone|root}|was running too fast|slipped on the "
     "path} and {fell on|dropped} the [obj]. {It broke|Crack! It broke|The [obj] was broken}. "
     "{[weather] |}[br]"
     "\"{Oh no|Oh dear}! {What shall I do|Now I cannot [play]}?\" [said] [hero]. [He] {felt|was} "
     "[sad]. {[He] tried to mend it, but it fell apart again.|[He] did not know how to mend it.|"
     "[He] sat down {[spot1]|on a stone} and cried.}[br]"
     "{Then|After a while,|Just then} [apal] {came along|came by}. [asked] [Hero] showed "
     "[phim] the broken [obj]. \"{We can mend it|I know how to mend it|Let us mend it together},\""
     " said [pal]. [Phe] {brought|fetched|found} [mend], and they worked {side by side|all "
     "afternoon|slowly and carefully}. {Soon|At last} the [obj] was {as good as new|whole again|"
     "even better than before}. \"{Thank you|Thank you so much|How clever you are}!\" said [hero]."
     " [glad]",
     "The [obj] broke.", "[Pal] brought [mend], and they mended the [obj] together.",
     "{broken things can be mended with patience|slow and careful work is good work|a problem is "
     "smaller when you share it}"},

    {"quarrel", 0, 0, 0,
     "[day], [hero] found [aobj] [spot1]. {[weather] |}\"{What a {lovely|fine} [obj]|Look at "
     "this}! {It is mine|I will keep it},\" said [hero].[br]"
     "But [apal] had seen it too. \"{No, it is mine|I saw it first|I want it},\" said [pal]. "
     "[Hero] pulled on one side, and [pal] pulled on the other side. {They shouted and they "
     "stamped their feet.|They pulled and pulled, and nobody was happy.|They argued until the sun "
     "was low.} {At last|In the end} they were {both tired|too tired to fight}.[br]"
     "Then [hero] had an idea. \"{We can share it|We can take turns|Let us share it},\" [he] said. "
     "\"{I can have it today, and you can have it tomorrow|You can go first, and then it is my "
     "turn|Today it is yours, and tomorrow it is mine}.\" [Pal] {smiled|nodded|laughed}. \"{That is"
     " fair|That is a good idea|Yes, let us do that},\" [phe] said. {From that day on|After that}, "
     "they shared the [obj] and {became good friends|never argued about it again|had twice as "
     "much fun}.",
     "[Hero] and [pal] both wanted the [obj].", "They shared the [obj] and took turns.",
     "{sharing makes everything better|taking turns is better than fighting|a friend is worth more "
     "than a thing}"},

    {"gift", 0, 0, 0,
     "[Pal] was [his] best friend. [Pal] was [akindpal]. [day], it was [palposs] birthday. "
     "{[weather] |}[Hero] wanted to give [phim] [aobj], but [he] did not have {one|enough money}."
     "[br]"
     "So [hero] {worked hard all {day|morning}|had a plan}. [He] {helped {the baker|the farmer|an "
     "old woman|the gardener} to {carry water|pick apples|sweep the floor|stack wood}|washed "
     "windows and swept floors|picked berries and sold them}. {In the evening|When the work was "
     "done}, [he] had {just enough|a few coins}, and [he] {got|bought} the [adj] [obj]. [He] "
     "wrapped it in {a big leaf|bright paper|soft cloth}.[br]"
     "\"{Happy birthday|This is for you}!\" said [hero]. [Pal] opened the present, and [phis] eyes "
     "{shone|grew wide}. \"{A [obj]! It is just what I wanted|What a beautiful [obj]! Thank you|"
     "This is the best present ever},\" said [pal]. They {ate cake and sang songs|danced until the "
     "moon came up|laughed and played all evening}. [Hero] was tired but very [happy].",
     "[Hero] wanted to give [pal] [aobj] but had no money.",
     "[Hero] worked hard and got the [obj] for [pal].",
     "{giving makes you as happy as getting|a gift that took work is the best gift|a kind heart "
     "finds a way}"},

    {"storm", 0, FOOD, 0,
     "[owns] [day], {dark clouds came over the hills|a great storm came|the sky turned black}. "
     "{Thunder rolled, and rain poured down|The wind howled, and the rain fell hard|Lightning lit "
     "the sky}. [Hero] {ran home|hurried home} and {shut the door|lit a small fire}.[br]"
     "{Then [he] heard|Soon there was} a knock at the door. {Outside stood|It was} [apal], {wet "
     "and cold|shaking with cold|wet from head to toe}. \"{May I come in|Please let me in}? {My "
     "home is full of water|I have lost my way},\" said [pal]. \"{Of course|Come in, come in},\" "
     "said [hero]. [He] gave [phim] {hot soup|warm milk|a cup of tea} and {a dry blanket|a place "
     "by the fire}. {To cheer [phim] up, [he] showed [phim] the [adj] [obj].|Then [he] let [phim] "
     "hold the [adj] [obj].} All night long they {told stories|sang songs|talked and laughed}.[br]"
     "In the morning, the {storm was over|sun came out}. \"{I will never forget this|You are very "
     "kind},\" said [pal]. {From then on|After that day}, they {were the best of friends|visited "
     "each other every week|were never lonely again}.",
     "There was a great storm, and [pal] was wet and cold.",
     "[Hero] let [pal] in and kept [phim] "
     "warm.",
     "{kindness keeps everyone warm|a warm heart makes a friend|there is always room for "
     "a friend}"},

    {"lonely", 0, FOOD, 0,
     "[owns] But [he] had nobody to play with, and [he] {often felt|was often} lonely. [day], "
     "[hero] {sat|was sitting} [spot1]. {[weather] |}[He] {sighed|looked at the sky|looked at the "
     "[obj]} and {wished for a friend|felt very alone}.[br]"
     "{Then|Just then} [hero] saw [apal] {on the path|not far away}. [Pal] {had just moved there|"
     "looked lonely too|was all alone too}. [Hero] was {shy|a little afraid}, but [he] {took a deep"
     " breath|was brave} and said, \"{Hello|Good morning}! {Would you like to play with me|Do you "
     "want to see my [obj]}?\" \"{Yes, please|I would love to|Oh yes},\" said [pal], {and [phis] "
     "face lit up|with a big smile}.[br]"
     "They {shared the [obj]|played with the [obj]} {all afternoon|until the sun went down}, and "
     "they {laughed and laughed|told each other stories}. {When it was time to go home|In the "
     "evening}, [pal] asked, \"{Can we play again tomorrow|Shall we meet again}?\" \"{Every day|Of "
     "course|Yes, tomorrow and every day},\" said [hero]. [Hero] was not lonely any more.",
     "[Hero] was lonely and had nobody to play with.", "[Hero] was brave and asked [pal] to play.",
     "{a friend may be only one hello away|a brave hello can make a friend|it is good to say hello"
     "}"},

    {"dark", 0, FOOD, 0,
     "[owns] But [hero] was afraid of {the dark|thunder|deep water|the old bridge}{.| and did not "
     "want to tell anyone.} [day], [he] {stayed too long [at]|walked too far from home}, and soon "
     "{it was night|the sun went down}. {Every shadow looked like a monster.|The trees made "
     "strange sounds.|An odd noise came from [spot1].} [Hero] {began to shake|hid [spot2]|held the "
     "[obj] tight}.[br]"
     "{\"Who is there?\" asked a soft voice.|Then [he] heard a soft voice.} It was [apal]. \"{I am "
     "afraid|I am scared},\" {whispered|said} [hero]. \"{So was I once|Everyone is afraid "
     "sometimes|That is all right},\" said [pal]. \"{Look up and count the stars|Hold my hand and "
     "sing with me|Take one small step, and then another}.\"[br]"
     "[Hero] tried it. {One, two, three, four, five.|First one step, then two, then ten.|[He] sang "
     "softly, and then louder.} {Little by little|Slowly}, [his] fear {grew smaller|went away}. "
     "[Pal] walked all the way home with [him]. \"{Thank you|Good night, and thank you},\" said "
     "[hero]. {That night [he] slept well.|Now [he] felt brave and proud.} [He] was not afraid any "
     "more.",
     "[Hero] was afraid.", "[Pal] helped [hero] to be brave and walked [him] home.",
     "{being brave means trying even when you are afraid|fear grows smaller when you share it|"
     "everyone is afraid sometimes}"},

    {"river", FLOATS, 0, SWIM,
     "[owns] [day], [hero] {was playing|sat down} {on a little bridge|beside a stream}. {[weather] "
     "|}{Splash|Plop}! The [obj] {fell|slipped} into the water, and the {water|stream} carried it "
     "away.[br]"
     "[Hero] ran {along the bank|after it}, but the water was {too fast|faster}. {[He] reached out "
     "with a stick, but the [obj] was too far away.|[He] could not swim.} [He] {felt|was} [sad]. "
     "\"{Help! Help|Can anybody help me}!\" [he] called.[br]"
     "{A friendly|A wet} {head|face} came out of the water. It was [apal]. \"{Stay there|Wait "
     "there}, {I will get it|I am a good swimmer},\" said [pal]. [Phe] swam {as fast as [phe] could"
     "|quickly down the stream}, caught the [obj] and brought it back. {It was wet, but it was not "
     "lost.|Water dripped from it, but it was safe.} \"{Thank you|Thank you so much|You saved it}!"
     "\" said [hero]. [glad]",
     "The [obj] fell into the water and floated away.",
     "[Pal] swam after the [obj] and brought it back.",
     "{it is good to ask for help|a quick friend is a great help|everyone is good at something}"},

    {"thief", FOOD, 0, 0,
     "[day], [hero] {made|got} [aobj] and put it {on the window sill|on the table}. {[weather] |}"
     "{But when [he] came back|After a while}, a piece of the [obj] was {gone|missing}! \"{Who has "
     "been eating my [obj]|Who did this},\" [he] {cried|asked}.[br]"
     "[Hero] {hid behind the door|followed the crumbs} and {waited quietly|looked around}. Soon "
     "[he] saw [apal] {with crumbs on [phis] face|with a piece of it}. \"{Why did you take it|Did "
     "you take my [obj]}?\" asked [hero]. [Pal] {looked at the ground|began to cry}. \"{I am sorry|"
     "Please forgive me}. I {was so hungry|have had nothing to eat all day},\" [phe] said.[br]"
     "[Hero] was not angry any more. \"{Next time, just ask|You only had to ask},\" [he] said. "
     "\"{There is enough for two|Come and sit with me}.\" They {sat down together|sat side by side}"
     " and {ate|shared} the rest of the [obj]. {It tasted better than ever.|They talked until "
     "the stars came out.} {The next day|A week later}, [pal] came back with {a basket of berries|"
     "some nuts and honey|fresh bread} to say thank you.",
     "[Pal] took a piece of the [obj].", "[Hero] forgave [pal] and shared the [obj].",
     "{it is better to ask than to take|food tastes better when it is shared|saying sorry is the "
     "first step}"},

    {"box", 0, FOOD, 0,
     "{One of [his] friends was [apal].|[He] often played with [apal].} [day], [hero] and [pal] "
     "{found|saw} {an old box|a wooden chest} [spot1]. {[weather] |}\"{What can be inside|I wonder "
     "what is in it}?\" said [hero]. \"{Perhaps it is gold|Maybe it is treasure},\" said [pal].[br]"
     "They {pulled|pushed} the lid, but it was {locked|stuck}. First they looked for a key [spot2]."
     " {There was nothing.|They found only {mud|leaves|a snail}.} Then they looked [spot3], and "
     "there, {under a flat stone|in a small hole}, lay {a rusty key|a tiny key}! [Hero] {turned it|"
     "put it in the lock}. Click! The {lid opened|box opened}.[br]"
     "Inside there was no gold. There was only [aobj]. {At first they were a little sad.|They "
     "looked at each other and laughed.} But {then|soon} they {began to [play]|took it out and "
     "looked at it together}. \"{This is better than gold|This is the best treasure},\" said "
     "[pal]. [Hero] {agreed|nodded}, and they {shared it|took it home} and kept it {for years|"
     "always}.",
     "[Hero] and [pal] found a box that was locked.", "They found the key [spot3].",
     "{the best treasure is a good friend|treasure does not have to be gold|two heads are better "
     "than one}"},

    {"seed", 0, FOOD, 0,
     "[day], [hero] traded [his] [adj] [obj] for a {tiny|small brown|shiny} seed. {[weather] |}"
     "\"{You traded a fine [obj] for a seed|Only a seed}?\" {laughed|said} [apal]. \"{That was not "
     "very clever|What will you do with that}?\" \"{Wait and see|Just wait},\" said [hero].[br]"
     "[He] planted the seed [spot1]. Every {day|morning} [he] gave it water. {After one day|At "
     "first}, there was nothing. After a week, there was {still nothing|only a bit of green}. "
     "[Hero] {did not give up|was patient} and {sang to it|pulled out the weeds|kept it warm}.[br]"
     "{At last|One morning} {a green shoot|a little plant} came up, and it grew and grew. By summer"
     " there {was a great {sunflower|apple tree|pumpkin}|were a hundred {red|golden|blue} flowers}."
     " [Pal] {came to look|could not believe it}. \"{I was wrong|I am sorry I laughed},\" said "
     "[pal]. [Hero] {smiled|laughed} and {gave [phim] a seed too|shared it with [phim]}.",
     "[Pal] laughed because [hero] traded the [obj] for a seed.",
     "[Hero] was patient, and the seed grew.",
     "{good things take time|patience is rewarded|small things can grow great}"},

    {"music", LOUD, 0, 0,
     "[owns] [day], there was going to be a {party|feast|dance} [at], but {nobody could play music|"
     "the musicians were ill}. {[weather] |}\"{How can we dance without music|What shall we do "
     "now}?\" said [apal].[br]"
     "\"I have [aobj],\" said [hero] {quietly|shyly}. \"But I am {too shy|afraid to make a "
     "mistake}.\" [Pal] {smiled|took [his] hand}. \"{Just try it|Play for me first},\" [phe] said. "
     "\"{A small mistake does not matter|Nobody will laugh at you}.\" So they practised [spot1], "
     "{again and again|all day long}, and each time it {sounded better|was a little easier}.[br]"
     "In the evening, {lamps were lit|the stars came out}, and everyone {came|was waiting}. [Hero] "
     "{took a deep breath|closed [his] eyes} and began. {Soon|First one foot tapped, then two, and "
     "soon} everyone was dancing! When the song was over, they {clapped and cheered|asked for "
     "another one}. [Pal] {clapped the loudest|was very proud}, and [hero] {was not shy any more|"
     "had never been so happy}.",
     "There was no music for the dance.", "[Hero] practised and played the [obj].",
     "{practice makes us better|a small mistake does not matter|a friend can make you brave}"},

    {"race", 0, FOOD, 0,
     "[day], there was a {big|great} race [at], and the prize was [aobj]. {[weather] |}[Hero] "
     "wanted to win. So did [apal]. \"{I am much faster than you|You will never win},\" said "
     "[pal]. [Hero] {only smiled|said nothing}.[br]"
     "{Ready, steady, go|One, two, three, go}! [Pal] {ran ahead|was soon far in front}, and [hero] "
     "{came after [phim]|followed step by step}. But {halfway|after the last bend}, [pal] {slipped "
     "and fell|stepped on a thorn|fell into a ditch}. \"{Ouch! My foot|Ouch! I cannot go on},\" "
     "[phe] cried.[br]"
     "[Hero] could have {run past|won} now. But [he] stopped {at once|and turned back}. \"{Lean on "
     "me|I will help you up},\" said [hero]. {Step by step|Slowly}, they walked to the end "
     "together, and everyone {cheered|clapped}. \"{You are the real winner|I was wrong to boast},\""
     " said [pal]. They {won the [obj] together|both got the prize} and {shared it|took turns with "
     "it}.",
     "[Pal] was hurt in the race.", "[Hero] stopped to help [pal], and they finished together.",
     "{helping is better than winning|a kind winner is the best winner|it is not good to boast}"},

    {"fib", BREAKS, 0, 0,
     "{[His] neighbour was [apal].|Not far away lived [apal].} [Pal] had [aobj]. [day], [hero] "
     "{borrowed it|took it without asking}. {[weather] |}[He] wanted to [play], but {it "
     "slipped|[he] was not careful}, and the [obj] broke.[br]"
     "[Hero] hid the pieces [spot1]. {Soon [pal] came|Then [pal] came by}. \"Have you seen my "
     "[obj]?\" [phe] asked. \"{No, I have not|No},\" said [hero], and [his] {face turned red|voice "
     "was very small}. {All night [he] could not sleep.|[He] did not want to eat [his] supper.} "
     "[He] felt {bad|very bad} inside.[br]"
     "{The next morning|In the morning}, [hero] went to [pal]. \"{I broke your [obj]|It was me}. I "
     "am {very|so} sorry,\" [he] said. [Pal] was {sad|cross} for a moment, but then [phe] "
     "{smiled|nodded}. \"{Thank you for telling me the truth|It was brave to tell the truth},\" "
     "[phe] said. \"{Let us mend it|We can mend it together}.\" They took [mend] and {worked "
     "together|mended it}. [Hero] {felt light again|slept well that night}.",
     "[Hero] broke [palposs] [obj] and did not tell the truth.",
     "[Hero] said sorry, and they mended the [obj] together.",
     "{the truth makes the heart light|it is brave to tell the truth|saying sorry is the first "
     "step}"},

    {"astray", 0, FOOD, 0,
     "[owns] [day], [hero] {followed a {blue|yellow|white} butterfly|went for a long walk|was "
     "looking for berries}. {[weather] |}[He] {walked and walked|went further and further}, and "
     "{when [he] looked up|after a while}, [he] did not know where [he] was. {Every path looked the"
     " same.|Nothing looked the way it should.}[br]"
     "\"{I am lost|How will I get home}!\" [said] [hero]. First [he] went left, but there was only "
     "{a wall of thorns|a muddy ditch}. Then [he] went right, but there was only {a steep cliff|"
     "deep water}. [He] sat down with the [adj] [obj] and felt [sad].[br]"
     "{Then|After a while,|Just then} [apal] {came along|came by}. [asked] \"I cannot find the way "
     "home,\" said [hero]. \"{I know every path here|I know the way},\" said [pal]. \"{Come with "
     "me|Follow me}.\" They walked {past the mill and over the bridge|through the trees and down "
     "the hill|along the stream}, and soon [hero] saw [his] home. [He] was so glad that [he] {gave "
     "[pal] the [obj] as a present|let [pal] play with the [obj]|gave [pal] a big hug}.",
     "[Hero] got lost and could not find the way home.", "[Pal] showed [hero] the way home.",
     "{it is good to ask for help|it is good to stay on the path|a friend knows the way}"},

    {"soup", 0, FOOD, 0,
     "[owns] {It was a long winter, and|The harvest was poor, and} there was little to eat. [day], "
     "[hero] looked into the cupboard and found {only one potato|only two carrots|only an onion}. "
     "{[weather] |}\"{What can I cook with that|This is not enough for soup},\" said [hero].[br]"
     "Just then [apal] {knocked at the door|came by}. \"{I am hungry, but I have only {a bit of "
     "salt|a few beans|some cabbage}|All I have is {a handful of peas|some old bread|one turnip}},"
     "\" said [pal]. [Hero] {thought for a moment|had an idea}. \"{Let us cook together|If we put"
     " it all in one pot, we have soup}!\" [he] said. They {put a big pot on the fire|lit a fire} "
     "and {stirred and stirred|cut and stirred}. The smell {went through the whole place|went out "
     "of the window}, and soon {more neighbours came|everyone came}, and each brought {something|a "
     "little}.[br]"
     "In the end the soup was {thick and good|hot and sweet}, and there was enough for all. "
     "After supper [hero] {brought out|showed them} the [adj] [obj], and they {laughed and sang|"
     "told stories} until {late|the fire went out}. \"{This was the best soup of my life|I have "
     "never eaten better soup},\" said [pal]. [Hero] {smiled|was [happy]}.",
     "[Hero] did not have enough food for soup.",
     "[Hero] and [pal] put their food in one pot and cooked together.",
     "{a little from each is plenty for all|together we have enough|sharing makes everything "
     "better}"},

    {"heavy", 0, FOOD, 0,
     "[owns] [day], {a great stone rolled|a big tree fell} across the path [at]. {[weather] |}"
     "Nobody could get past it, and the [obj] was on the other side. [Hero] pushed and pushed, but "
     "it did not move. {[He] pulled with a rope, but the rope broke.|[He] pushed again, and [his] "
     "feet slipped.} [He] was {tired|out of breath} and [sad].[br]"
     "{Then|After a while,} [apal] {came along|came by}. \"{Can I help|Shall I push too}?\" asked"
     " [pal]. \"{It is too heavy|You are kind, but it will not move},\" said [hero]. \"{Too heavy"
     " for one, but maybe not for two|Let us count to three and push together},\" said [pal]. "
     "\"One, two, three!\" They pushed, and it {moved a little|shook}. {They called for more "
     "friends.|They tried once more.} \"One, two, three!\" And {this time|now} it rolled {away|to "
     "the side}.[br]"
     "{Everyone cheered.|The path was free again.} [Hero] ran to the [adj] [obj] and {picked it "
     "up|held it tight}. \"{I could never have done it alone|We are strong together},\" [he] said."
     " [glad]",
     "The path was blocked, and it was too heavy for [hero].",
     "[Pal] helped [hero] to push until the path was free.",
     "{together we are strong|many hands make light work|what is too heavy for one is light for "
     "two}"},

    {"nest", 0, FOOD, 0,
     "[owns] [day], [hero] heard a {small|soft} cry [spot1]. {[weather] |}There lay a baby bird on "
     "the ground. It had fallen out of its nest. \"{You poor little thing|Do not be afraid},\" said"
     " [hero]. \"{I will help you|I will bring you home}.\"[br]"
     "But the nest was {very high|high up in a tree}, and [hero] {did not know what to do|could not"
     " carry the bird up there}. So [he] went to [apal] and asked for {help|advice}. \"{First it "
     "must be warm|We need something warm and soft},\" said [pal]. They put {moss|leaves|soft "
     "grass} next to the [adj] [obj], and the baby bird lay there {and went to sleep|and was "
     "quiet}. Then they {called for its mother|looked for its mother [spot2]}.[br]"
     "{Soon|At last} the mother bird came flying. She {was so happy that she sang|sang for joy}. "
     "Together they {brought the baby back to the nest|lifted it up to the nest}. \"{Thank you both"
     "|I will sing for you every morning},\" said the mother bird. {And so she did.|[Hero] and "
     "[pal] waved goodbye.} [glad]",
     "A baby bird had fallen out of its nest.",
     "[Hero] and [pal] kept the bird warm and brought it back to its mother.",
     "{even the smallest need our help|a gentle hand can save a life|kindness is never too small}"},
};

const struct plot *plots_any(struct teller *t)
{
    return &plots[teller_below(t, COUNT(plots))];
}
