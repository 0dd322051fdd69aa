"""What people say in a crisis, and what only sounds like it: patterns for folded text (lower case, no accents)."""

_WANT = (
    r"(?:want(?:ed|s)?(?: to)?|wanna|going to|gonna|wish (?:to|i could)|would like to|'d like to|planning (?:to|on)|"
    r"feel like|feeling like|about to|ready to|need to|have to|tried to|trying to|try to|thinking (?:of|about)|"
    r"thought (?:of|about)|think (?:of|about)|urges? to|might|decided to|plan to|intend to|rather|"
    r"(?:stop|help|keep|started|been))"
)
_ADVERBS = r"(?: (?:just|really|only|simply|actually|finally|also|even|so|all|maybe|to|go|and|fucking|badly))*"
_NOT = r"(?:do not|don't|dont|do n't|no longer|never|didn't|did not|cannot|can't|cant)"
_END = r"(?= ?(?:$|[.!?,;:)*\"]|and\b|but\b|because\b|since\b|so\b|without\b|like this\b))"
_CUT = r"(?:slit|cut|slash|sever|pierc|slic)(?:e|t?ing|s)?"
_CLOSE = (
    r"my (?:best )?(?:friend|sister|brother|son|daughter|mother|mom|mum|dad|father|wife|husband|girlfriend|boyfriend|"
    r"partner|child|kid|roommate|flatmate|cousin|ex)"
)
_SOMEBODY_ELSE = (
    r"\b(?:he|she|they|who|that|people|character|hero|heroine|someone|somebody|story|novel|song|film|movie)\b"
)

PHRASES = (
    # To end one's life.
    r"\b(?:kill(?:ing)?|hang(?:ing)?|drown(?:ing)?|shoot(?:ing)?|unaliv(?:e|ing)|end(?:ing)?) my ?self\b",
    rf"\b{_WANT}{_ADVERBS} off(?:ing)? my ?self\b",
    r"\b(?:end|ending|take|taking) my (?:own )?life\b",
    rf"\b{_WANT}{_ADVERBS} (?:end(?:ing)?|finish(?:ing)?) it all\b",
    rf"\bi(?:'m|'ve|'d| am)?\b(?:(?!{_SOMEBODY_ELSE})[^.!?\n]){{0,40}}\b(?:commit(?:ting)?|attempt(?:ed|ing)?|"
    r"contemplat\w+|consider(?:ed|ing)?|think(?:ing)? (?:of|about)|thought (?:of|about)|plan(?:ned|ning)?|tr(?:y|ied)) "
    r"suicide\b",
    r"\b(?:i am|i'm|im|i feel|i've been|feeling|i was|makes? me|me)(?: (?!not\b|never\b|no\b)\w+){0,2} suicidal\b",
    r"\b(?:i have|i'm having|i've had|i've been having|having|my|i get|i keep getting)(?: \w+){0,2} suicidal "
    r"(?:thoughts?|ideation|feelings?|urges?)\b",
    rf"\bi(?:'d|'m)?(?: \w+){{0,3}} (?:want(?:ed)?|wanna|wish|rather|hope|ready|going|need)(?: to| i could| i would)?"
    rf"{_ADVERBS} die\b",
    r"\b(?:makes?|made) me want to die\b",
    rf"\bi(?:'d)?(?: \w+){{0,3}} (?:want to|wanna|rather|wish i could){_ADVERBS} be dead\b",
    r"\bwish (?:that )?i (?:was|were|had been) (?:dead|never born)\b",
    r"\bwish i (?:had never been|was never|were never|wasn't|weren't) (?:born|alive)\b",
    r"\bwish i (?:did not|didn't) (?:exist|have to live|wake up)\b",
    r"\b(?:wish|hope|want)(?: to| i could| i)?(?: just| to){0,2} (?:fall asleep|go to sleep) and (?:never|not) wake "
    r"up\b",
    rf"\b(?:{_NOT} want to|hope i (?:don't|never)|wish i (?:don't|wouldn't|never)) wake up (?:any ?more|again|ever)\b",
    r"\b(?:i am|i'm|i'd be|i would be|better off if i was|they'd be better off with me) better off dead\b",
    r"\b(?:better off|happier|better place) without me\b",
    rf"\b{_NOT} (?:even )?want to (?:be alive|exist|keep living|go on living|continue living)\b",
    rf"\b{_NOT} (?:even )?(?:want to|wanna) live(?:{_END}| (?:any ?more|any longer|like this)\b"
    r"(?! (?:in|here|at|on|near)\b))",
    rf"\b{_NOT} want to be (?:here|around|on this (?:earth|planet|world)) (?:any ?more|any longer){_END}",
    r"\b(?:no|any|a single) (?:reason|point|will) (?:left )?(?:to (?:live|go on living|keep living|stay alive)|in "
    r"living)\b",
    r"\b(?:nothing|anything) (?:left )?to live for\b",
    r"\b(?:my )?life (?:is not|isn't|is no longer|isnt) worth (?:living|it)\b",
    r"\bcan(?:'t|not|t) (?:go on|keep) living\b",
    r"\b(?:nobody|no one|no-one) (?:would|will|'d|'ll)(?: even)? (?:miss me|care|notice)(?: \w+){0,2} "
    r"(?:i(?:'m| am| was| were)? (?:gone|dead|died|disappeared|killed)|when i(?:'m| am) gone)\b",
    r"\bmy suicide note\b",
    r"\b(?:i|i've|i have)(?: \w+){0,2} (?:took|swallowed|taken) (?:all|too many|a whole bottle|the whole bottle|"
    r"a bottle)(?: of)?(?: my| the| those)? (?:\w+ )?(?:pills|tablets|meds|medication)\b",
    rf"\b{_WANT}{_ADVERBS} overdos(?:e|ing)\b",
    rf"\b{_WANT}{_ADVERBS} (?:jump(?:ing)?|throw(?:ing)? my ?self) (?:off|from|in front of|under) (?:a|the|this|that|"
    rf"my) "
    r"(?:bridge|roof|building|balcony|window|train|bus|car)\b",
    rf"\b(?:i|i'll)(?: \w+){{0,2}} {_WANT}? ?kms\b",
    # To hurt oneself.
    rf"\b{_WANT}{_ADVERBS} (?:hurt|harm|cut|burn)(?:ting|ing)? my ?self\b",
    rf"\b(?:{_CUT}(?: open)?|open(?:ing|ed)?) my (?:own )?(?:left |right |both )?(?:wrists?|veins?)\b"
    r"(?! (?:on|by accident|at work)\b)",
    rf"\b{_CUT} (?:open )?my (?:own )?(?:carotid |cervical |jugular |femoral )?"
    r"(?:arter(?:y|ies)|throat|jugular|carotid)\b",
    r"\b(?:cut(?:ting)?|carv(?:e|ed|ing)|burn(?:ed|ing|t)?|scratch(?:ed|ing)?) (?:(?:a|some|more|new|deep|another) )?"
    r"(?:scars?|lines?|cuts?|marks?|words?) (?:in|into|on|onto) my (?:own )?"
    r"(?:arms?|legs?|thighs?|wrists?|skin|body)\b",
    r"\bcut(?:ting)? my (?:own )?(?:arms?|thighs?|legs?) (?:again|open|on purpose|deliberately|to feel)\b",
    r"\b(?:what|how (?:much|many)(?: \w+){0,2}) (?:can|should|could|do|must|would) i (?:have to |need to )?"
    r"(?:take|swallow|drink|inject) to (?:die|kill my ?self|(?:never|not) wake up)\b",
    r"\b(?:hurt|harm|cut|burn|hurting|harming|cutting|burning|harmed|burned) my ?self (?:on purpose|deliberately|again|"
    r"to feel|when(?:ever)? i(?:'m| am| feel| get) (?:sad|upset|alone|low|stressed|angry|numb))",
    r"\bi(?:'m|'ve)?(?: \w+){0,3} self[ -]?harm(?:ing|ed)?\b",
    r"\bmy (?:\w+ )?self[ -]?harm(?:ing)?\b",
    # Fear for somebody close.
    rf"\b{_CLOSE}(?: \w+){{0,6}} (?:kill|hang)(?:ing)? (?:him|her|them) ?sel(?:f|ves)\b(?! (?:laughing|with))",
    rf"\b{_CLOSE}(?: \w+){{0,4}} (?:wants? to|going to|tried to|might|threaten(?:s|ed|ing) to|about to|keeps|started|"
    r"been|says \w+ will) (?:hurt|harm|cut)(?:t?ing)? (?:him|her|them) ?sel(?:f|ves)\b(?! (?:a|some|off|loose)\b)",
    rf"\b{_CLOSE}(?: \w+){{0,6}} (?:suicidal|wants? to die|(?:end|take) (?:his|her|their) (?:own )?life)\b",
    rf"\b{_CLOSE}(?: \w+){{0,6}} (?:attempt(?:ed|ing)?|talk(?:s|ing) about|threaten(?:s|ed|ing)|consider\w*) suicide\b",
    # German.
    r"\bich (?:will|mochte|wollte|wurde)(?: (?:einfach|nur|am liebsten|gern|gerne|so gern|jetzt|endlich|doch|auch|"
    r"lieber|bloss)){0,3} (?:sterben|tot sein|nicht mehr (?:leben|da sein|hier sein|existieren|aufwachen|"
    r"weiterleben))\b",
    r"\b(?:will|mochte|kann|mag|wollte)(?: \w+){0,2} nicht mehr (?:leben|weiterleben|existieren|aufwachen|am leben "
    r"sein)\b",
    r"\b(?:will|mochte|werde|wollte|konnte|versucht,?|daran,?|uberlege,?|vor,?)(?: \w+){0,2} (?:mich|mir)(?: \w+){0,3} "
    r"(?:umzubringen|umbringen|zu toten|toten|zu erhangen|erhangen|aufhangen|erschiessen|das leben (?:zu )?nehmen|"
    r"etwas anzutun|etwas antun|was antun)\b",
    r"\bbring(?:e)? mich (?:jetzt |heute |noch |irgendwann |bald )?um\b(?! (?:den|die|das|mein|meine|meinen)\b)",
    r"\b(?:nehme|nehm) mir (?:jetzt |heute |bald )?das leben\b",
    r"\bmeinem leben ein ende (?:zu )?(?:setzen|machen|bereiten)\b",
    r"\b(?:ich habe?|ich hatte|habe?|hatte|meine|mit)(?: \w+){0,2} (?:suizid|selbstmord)gedanken\b",
    r"\bich bin(?: \w+){0,2} (?:suizidal|suizidgefahrdet|selbstmordgefahrdet|lebensmude)\b",
    r"\b(?:denke|dachte|denk|nachdenke)(?: \w+){0,3} (?:an|uber) (?:meinen )?(?:suizid|selbstmord)\b",
    r"\b(?:will|wollte|werde|mochte)(?: \w+){0,3} (?:suizid|selbstmord) (?:begehen|machen)\b",
    r"\b(?:ritze|ritz|verletze) mich (?:selbst|selber|wieder|absichtlich|jeden|oft|manchmal|seit)\b",
    r"\b(?:will|mochte|muss|wollte|drang,?|kurz davor,?) (?:\w+ )?mich (?:wieder |selbst |selber )*(?:zu )?"
    r"(?:ritzen|verletzen)\b",
    r"\b(?:ware|war) (?:ich )?(?:am liebsten|lieber|besser|doch) tot\b",
    r"\b(?:wunschte|wunsche),? (?:dass )?ich (?:ware|war) (?:tot|nie geboren|nicht mehr da)\b",
    r"\bohne mich (?:ware|waren|ist|sind|geht es)(?: \w+){0,4} besser(?: dran)?\b",
    r"\bbesser dran ohne mich\b",
    r"\bkeinen (?:sinn|grund)(?: \w+){0,2} (?:im leben|am leben|zu leben|weiterzuleben)\b",
    r"\bmein(?:e|er)? (?:beste[rn]? )?(?:freund|freundin|bruder|schwester|sohn|tochter|mutter|vater|frau|mann)"
    r"(?: \w+){0,4} (?:sich umbringen|sich das leben nehmen|suizidal|sterben will|nicht mehr leben)\b",
    # French.
    r"\b(?:je (?:veux|voudrais|vais|pense a|songe a)|envie de|j'ai decide de)(?: \w+){0,2} (?:me suicider|me tuer|"
    r"me pendre|mourir|en finir(?! avec (?!la vie|ma vie))|mettre fin a (?:mes jours|ma vie))\b",
    r"\b(?:des|mes|les) (?:pensees|idees) suicidaires\b",
    r"\bje (?:ne )?veux plus vivre\b(?! (?:a|en|avec|chez|ici|dans|la|au)\b)",
    r"\b(?:envie de|je (?:veux|vais)) me faire du mal\b",
    # Spanish.
    r"\b(?:quiero|voy a|pienso(?: en)?|me gustaria|quisiera|deseo|ganas de|pensando en)(?: \w+){0,1} (?:morir(?:me)?"
    r"(?! de\b)|matarme|suicidarme|quitarme la vida|acabar con mi vida|hacerme dano)\b",
    rf"\bno quiero (?:seguir )?(?:vivir|viviendo)(?: mas| asi)?{_END}",
    r"\b(?:tengo|mis) (?:\w+ )?pensamientos suicidas\b",
    # Italian.
    r"\b(?:voglio|vorrei|penso di|pensando di|sto per)(?: \w+){0,1} (?:morire(?! d[ia]\b)|uccidermi|ammazzarmi|"
    r"suicidarmi|farla finita|togliermi la vita|farmi del male)\b",
    rf"\bnon voglio (?:piu )?(?:vivere|esistere)(?: piu)?{_END}",
    # Portuguese.
    r"\b(?:quero|vou|penso em|queria|vontade de|pensando em)(?: \w+){0,1} (?:morrer(?! de\b)|me matar|matar-me|"
    r"me suicidar|suicidar-me|acabar com (?:a )?minha vida|tirar (?:a )?minha (?:propria )?vida|me machucar)\b",
    rf"\bnao quero (?:mais )?viver(?: mais)?{_END}",
    # Dutch.
    r"\bik (?:wil|ga|zou|denk eraan)(?: \w+){0,3} (?:dood(?: zijn)?|sterven|zelfmoord plegen|mezelf (?:doden|verhangen|"
    r"ombrengen|iets aandoen|van kant maken|snijden))\b",
    r"\bik wil niet meer (?:leven|verder leven)\b",
    r"\b(?:ik heb|mijn) (?:\w+ )?zelfmoordgedachten\b",
    # Polish and Turkish.
    r"\bchce (?:umrzec|sie zabic|ze soba skonczyc)\b|\bnie chce (?:juz )?zyc\b|\bmam mysli samobojcze\b",
    r"\b(?:olmek istiyorum|kendimi oldurmek|intihar etmek istiyorum|yasamak istemiyorum)\b",
)

# Scripts without capital letters or without spaces: folded as they are, looked for as they stand.
SCRIPTS = (
    *("хочу умереть", "не хочу жить", "не хочу больше жить", "покончить . собой", "убить себя", "мысли . самоубийстве"),
    *("想自杀", "想自殺", "我想死(?![你他她它我])", "不想活", "活不下去", "结束自己的生命", "結束自己的生命"),
    *("死にたい(?!ほど|くらい)", "自殺したい", "生きていたくない", "もう生きられない", "消えてしまいたい"),
    *("죽고 싶", "자살하고 싶", "살고 싶지 않"),
    *("اريد ان اموت", "اريد الانتحار", "मरना चाहता", "मरना चाहती", "आत्महत्या करना चाहत"),
)

# What only sounds like it; taken out before the look.
HARMLESS = (
    r"\b(?:kill(?:ing)?|shoot(?:ing)?|hang(?:ing)?) my ?self (?:laughing|at (?:the gym|work)|in the (?:gym|foot)|for "
    r"(?:\w+ing|not|that|this|a)|over (?:this|that|the|a)|with (?:work|laughter|training|chores)|to (?:finish|get|make|"
    r"meet|please|impress)|on (?:that|those|the) (?:stairs?|ice|hike|step))\b",
    r"\bdrown(?:ing)? my ?self in (?:work|coffee|books?|tea|ice cream|chocolate|perfume|music|study|studies)\b",
    r"\b(?:end|ending|take|taking|took) my life (?:as (?:a|an|the)|in (?:my|a new|another|new|your|his|her|the)|into|"
    r"back"
    r"|(?:too |so |very |more )?seriously|one|day|for granted|to the|on the road|story|apart|in hand|online|further)\b",
    r"\bdie(?:d)? (?:laughing|of (?:laughter|shame|embarrassment|boredom|hunger|thirst|curiosity|happiness|joy|"
    r"excitement|cuteness|envy|heat|cold|old age|cringe)|from (?:laughter|embarrassment|boredom|cuteness|the heat|"
    r"laughing|excitement|shame)|happy|old|a happy|a hero|rich|trying|hard|on (?:this|that|the|my) (?:hill|level|boss)|"
    r"in (?:his|her|your|this|that|the|a|my) (?:arms?|game|level|dungeon|battle|duel|play|show|scene|series|boss|end)|"
    r"for (?:you|love|my|this|that|a|her|him|some|freedom|it)|with (?:my boots|honou?r)|another day|at the (?:boss|"
    r"end of)"
    r"|before (?:i|we|the|seeing|my)|again (?:in|on|at|to)|in (?:minecraft|peace|battle|dark souls|elden ring)|twice|"
    r"alone in)\b",
    r"\b(?:jump(?:ing)?) (?:off|from) (?:a|the|this|that|my) (?:bridge|roof|building|balcony|window) (?:in(?:to)? |"
    r"with |"
    r"on )(?:the |a |my )?(?:(?:\w+ )?(?:lake|sea|river|water|pool|game|minecraft|parachute|bungee|rope|cord|vr|"
    r"dream))",
    r"\bbungee[^.!?\n]{0,30}",
    r"\bcut(?:ting)? my ?self (?:some|a|off|loose|in|out|short|shaving|chopping|cooking|while|when (?:cooking|shaving|"
    r"chopping|cutting|slicing)|on (?:the|a|some|glass|paper)|with (?:the kitchen|a (?:bread|kitchen|paper)))\b",
    r"\b(?:hurt|burn)(?:ing)? my ?self (?:at|while|when (?:playing|cooking|running|lifting|climbing|working)|playing|"
    r"on "
    r"(?:the|a)|in (?:the|training|sport|sports|football)|lifting|cooking|by accident|accidentally)\b",
    r"\brather die than (?!live|be|go on|keep|stay|continue|exist|face|wake|spend)|\bdie (?:her|his|my|their) hair\b",
    r"\bself[ -]?harm (?:prevention|awareness|policy|statistics|research)\b",
    r"\b(?:end|ending|finish) it all (?:with|on|at|in) (?:a|the|dessert|one|style)\b",
    r"\bsuicide (?:squad|doors?|burn|prevention|hotline|bombers?|rates?|statistics|awareness|missions?|pact|king|"
    r"run)\b",
    r"\bsuicidal (?:tendencies|mission|drivers?|pigeons?|lemmings?)\b",
    r"\b(?:a |the |any )?(?:better|happier) without me (?:nagging|talking|singing|cooking|there|in the kitchen|"
    r"driving)\b",
    r"\b(?:mourir|morir|morire|morrer|sterben) (?:de rire|de risa|de hambre|di fame|dalle risate|vor lachen|vor hunger|"
    r"vor scham)\b",
    r"\bwish (?:that )?i (?:was|were) dead (?:drunk|right|sure|certain|serious|on time)\b",
)

NEGATIONS = (
    *("not", "no", "never", "isn't", "aren't", "wasn't", "don't", "dont", "doesn't", "didn't", "won't", "wouldn't"),
    *("without", "nobody", "can't", "cannot", "couldn't", "shouldn't", "ain't", "instead of", "rather than", "nor"),
    *("nicht", "nie", "niemals", "kein", "keine", "keinen", "ne", "pas", "jamais", "nunca", "jamas", "non", "mai"),
    *("nao", "niet", "nooit", "nie"),
)
# "I can't stop thinking about killing myself" says it twice as much.
TWICE_NEGATED = (
    r"(?:not|\w+n't|cannot|cant|dont|never) (?:stop|help|shake|quit|resist|not|see (?:any|another)|know if|know how|"
    r"care if)",
    r"why (?:not|shouldn't|don't)(?: i)?",
    r"(?:not|\w+n't|never) sure (?:if|that|whether|how)",
    r"nobody (?:would|will|'d|'ll)? ?(?:care|notice|miss)",
    r"(?:no|without) (?:other|another) way",
    r"(?:no|not any|without|can't see a) (?:reason|point)[^.!?\n]{0,12}",
    r"(?:nicht|kann nicht) (?:aufhoren|anders)",
    r"(?:i'm|am) no(?:t)? good",
)

ENCOURAGING = (
    r"(?:^|[.!?,;:\"*)(] ?|\b(?:just|go|should|must|ought to|please|better|now|so|then|and|can only) )"
    r"(?:kill|hang|drown|shoot|unalive) your ?self\b(?! (?:laughing|out|a|some|in the foot|at|over|with work|for|if|"
    r"trying))",
    r"\b(?:should|must|ought to|just|go|please|better) (?:end|take) your (?:own )?life\b(?! (?:back|in|into|as|"
    r"seriously))",
    r"\byou (?:should|must|ought to|deserve to|need to) (?:just |really |simply )?(?:die|end it all|be dead|commit "
    r"suicide|"
    r"not (?:exist|be alive)|cut yourself)\b(?! (?:laughing|of|for|in))",
    r"\b(?:everyone|everybody|they|the world|we|people) (?:would|will|'d|is|are)(?: all)? (?:be )?(?:better|happier) "
    r"(?:off |place )?without you\b(?! (?:nagging|talking|singing|there))",
    r"\b(?:nobody|no one) (?:would|will) (?:even )?(?:miss you|care) (?:if|when) you(?:'re| are| were)? (?:dead|died|"
    r"gone)\b",
    r"\bkys\b",
    r"\bbring dich (?:doch |einfach )?um\b",
)

# One of these is in every message that a phrase matches; looked for first, as most messages have none.
HINTS = (
    *("kill", "hang", "drown", "shoot", "shooting", "unaliv", "off my", "offing my", "end my", "ending my", "life"),
    *("it all", "suicid", "die", "dead", "born", "exist", "wake up", "alive", "live", "living", "self", "without me"),
    *("be here", "be around", "be on this", "miss me", "would care", "will care", "'ll care", "'d care", "notice"),
    *("wrist", "my vein", "own vein", "arter", "my throat", "own throat", "jugular", "carotid", "my thigh"),
    *("to take to", "own arm", "own leg", "into my", "on my", "onto my", "in my", "cut my", "cutting my"),
    *("pills", "tablets", "meds", "medication", "overdos", "jump", "kms", "kys", "without you", "miss you"),
    *("sterben", "tot", "leben", "umbring", "umzubring", "hangen", "schiessen", "antun", "anzutun", "bring"),
    *("suizid", "selbstmord", "lebensmude", "ritze", "verletz", "geboren", "ohne mich", "throw my"),
    *("mourir", "tuer", "pendre", "finir", "mes jours", "vivre", "du mal", "morir", "matar", "vida", "vivi", "dano"),
    *("morire", "uccid", "ammazz", "finita", "vita", "vivere", "esistere", "male", "morrer", "viver", "machucar"),
    *("dood", "sterven", "zelfmoord", "mezelf", "leven", "umrzec", "zabic", "skonczyc", "zyc", "samoboj"),
    *("olmek", "oldur", "intihar", "yasamak"),
)
