"""The words of the content policy: short, clinical and fixed lists, matched whole on folded text.

Three words of no language stand in for what the lists are about, so that tests, documents and tables need no other.
"""

from duologue.guard.fold import word_set

STAND_IN = "zqflag"  # counts as explicit sexual content
STAND_IN_HINT = "zqhint"  # counts as innuendo
STAND_IN_FORCE = "zqforce"  # counts as force
STAND_IN_WEAPON = "zqweapon"  # counts as a weapon of mass harm


# Sexual content: what `mature` refuses, and what only `general` does.
EXPLICIT_WORDS = word_set(
    STAND_IN,
    "sexting erotica nudes nsfw intercourse porn porno pornography pornographic orgasm orgasms genital genitals",
    "genitalia penis vagina foreplay hentai fetish smut lolicon shotacon",
    "masturbate masturbates masturbated masturbating masturbation порно",
)
SUGGESTIVE_WORDS = (
    word_set(
        STAND_IN_HINT,
        "sex sexual sexually sexy erotic erotically nude nudity naked striptease lewd horny секс",
        "sexuell sexuelle sexuellen sexuel sexuelles nackt nackte nackten desnudo desnuda desnudos desnudas",
        "sessuale sessuali erotisch erotique erotico erotica seks naakt",
    )
    - EXPLICIT_WORDS
)
SUGGESTIVE_PHRASES = (r"\bma(?:ke|kes|king|de) love\b",)
EXPLICIT_WITHOUT_SPACES = ("色情", "性交", "エロ画像", "ポルノ", "야동")
SUGGESTIVE_WITHOUT_SPACES = ("裸体", "セックス", "섹스")
LOVE_PHRASES = ("make love", "makes love", "making love", "made love")

# Sexual violence as a word: sexual content where a minor is named, force where a sexual scene is; by itself neither,
# so that people can speak of it.
ABUSE_WORDS = word_set(
    "rape rapes raped raping rapist rapists molest molests molested molesting molester molestation grope gropes groped "
    "groping vergewaltigen vergewaltigt vergewaltigung viol violer violacion violar stupro"
)
FORCE_WORDS = word_set(STAND_IN_FORCE, "nonconsensual noncon dubcon") | ABUSE_WORDS
FORCE_PHRASES = (
    r"\bnon-?(?: ?con| ?consensual)\b|\bagainst (?:my|her|his|their|your|its) will\b|"
    r"\bwithout (?:my|her|his|their|your|any|asking for) consent\b|"
    r"\b(?:didn't|did not|doesn't|does not|never|won't|refus(?:es|ed) to|cannot|can't) (?:give )?consent(?:ed)?\b|"
    r"\b(?:force[sd]?|forcing) (?:himself|herself|themselves|yourself|myself|itself) (?:up)?on(?:to)?\b|"
    r"\bwhile (?:she|he|they|i|you) (?:is|was|were|am|are) (?:unconscious|drugged|passed out)\b|"
    r"\b(?:drug(?:s|ged|ging)?|spik(?:es|ed|ing)) (?:her|his|their|my|your) (?:drink|wine|tea|beer)\b|"
    r"\bsexual(?:ly)? (?:assault|abus|violat)\w*\b|\bsex (?:slaves?|traffick\w+)\b|\bgegen (?:ihren|seinen) willen\b",
)

# Sexual words that are none in these phrases; taken out before the look. Talk of children is family.py's.
HARMLESS = (
    r"\b(?:naked (?:eyes?|truth|flames?|mole|bulb|singularity)|nude (?:lipstick|heels|shade|colou?r|tights))\b",
    r"\b(?:sexual (?:orientation|harassment|education|health|identity|reproduction)|sex education|sex (?:chromosomes?|"
    r"linked|ratio|pistols|and the city))\b",
    r"\b(?:(?:same|opposite|fairer) sex|sex of (?:the|an?|my|your|his|her)|sex ?: ?(?:male|female))\b",
    r"\bsocial intercourse\b",
)
# Abuse that somebody tells of, suffered by the one who speaks; and words of help.
DISCLOSED = (
    r"\bi (?:was|got|had been|have been|was being|am being)(?: \w+){0,3} (?:raped|molested|groped|(?:sexually )?"
    r"(?:abused|assaulted|harassed))(?: (?:as|when i was|since i was) (?:an? |only |just )?(?:child|kid|teen|teenager|"
    r"little girl|little boy|girl|boy|student|(?:\w+ )?years? old|\w+))?\b",
    r"\bi've been(?: \w+){0,2} (?:raped|molested|groped|(?:sexually )?(?:abused|assaulted))\b",
    r"\b(?:he|she|they|somebody|someone|(?:my|a|the|our) \w+) (?:raped|molested|groped|(?:sexually )?(?:abused|"
    r"assaulted)) me\b(?: when i was (?:an? |only |just )?\w+)?",
    r"\b(?:rape|sexual (?:abuse|assault|violence)) (?:crisis|survivors?|victims?|support|hotline|helpline|counsell?ing|"
    r"counsell?ors?|kits?|centers?|centres?|laws?|prevention|awareness|statistics)\b",
    r"\b(?:survivors?|victims?) of (?:rape|(?:child )?sexual (?:abuse|assault|violence))\b",
    r"\bno (?:rape|non-?con|means no)\b",
)
# That there is no force. The words between are left in, as they may be of anything else.
NO_FORCE = (
    r"\b(?:no|never|nothing|not|none|won't|don't|wouldn't|do not)"
    r"(?P<between>(?: (?!stop|car(?:e|es|ing)\b|mind|matter|only\b|just\b)\w+){0,4}) "
    r"(?:against (?:her|his|your|my|their) will|without (?:her|his|your|my|their|any) consent)\b"
)

# Signals of a minor.
MINOR_WORDS = word_set(
    "child children childlike kid kids kiddo kiddos infant infants toddler toddlers preschooler preschoolers",
    "kindergartner kindergartners kindergartener kindergarteners preteen preteens tween tweens teen teens",
    "teenage teenaged teenager teenagers adolescent adolescents preadolescent juvenile juveniles minors",
    "underage underaged prepubescent pubescent schoolgirl schoolgirls schoolboy schoolboys schoolchild",
    "schoolchildren schoolkid schoolkids loli lolis lolicon shota shotas shotacon jailbait",
    "pedophile pedophilia paedophile paedophilia youngster youngsters nymphet nymphets kiddie kiddies tweenager",
    "kidz tweenagers",
    "minderjahrig minderjahrige minderjahrigen minderjahriger schulmadchen schulkind schulkinder kinder kindes",
    "jugendliche jugendlicher jugendlichen grundschuler grundschulerin schulerin schuler teenagerin",
    "mineure mineures enfant enfants fillette fillettes gamine gamin ecoliere ecolier collegienne collegien lyceenne",
    "lyceen minorenne minorenni bambina bambino bambini ragazzina ragazzino liceale adolescente adolescentes",
    "nino nina ninos ninas colegiala colegial crianca criancas minderjarig minderjarige minderjarigen kleuter",
    "schoolmeisje tiener nieletnia nieletni cocuk ребенок дети школьница школьник несовершеннолетняя",
    "несовершеннолетний подросток ребенка ребенком ребенку детей детьми детям школьницу школьницей школьницы школьника "
    "подростка подростки подростков подростком малолетка малолетки малолетняя малолетний несовершеннолетней",
    "teenie teenies gosse gosses ecolieres ecoliers gamines gamins collegiennes lyceennes",
    "chiquilla chiquillas crianca criancas garotinha garotinho bambine ragazzine dziecko dzieci dziewczynka nastolatka "
    "nastolatki nastolatek cocuklar tieners kinderen quinceanera дитина діти підліток школярка",
)
MINOR_WITHOUT_SPACES = (
    *("未成年", "小学生", "中学生", "高中生", "初中生", "高校生", "儿童", "兒童", "児童", "子供", "幼女", "萝莉"),
    *("子ども", "こども", "女児", "男児", "ロリコン", "小女孩", "小男孩", "小孩", "女童", "男童", "初中女", "高中女"),
    *("여고생", "여중생", "남고생", "남중생", "초딩", "중딩", "고딩", "어린이"),
    *("미성년", "초등학생", "중학생", "고등학생", "قاصر", "नाबालिग"),
)

# Weapons of mass harm. Nothing here says more than their names.
WEAPON_WORDS = word_set(STAND_IN_WEAPON, "sarin novichok tabun soman ricin anthrax botulinum bioweapon bioweapons")
WEAPON_PHRASES = (
    r"\b(?:nerve (?:gas(?:es)?|agents?)|mustard gas|(?:radiological|nuclear|atomic) devices?|"
    r"(?:chemical|biological|radiological|nuclear|atomic) (?:weapons?|bombs?|warheads?)|"
    r"(?:atom|hydrogen|dirty|pipe|nail|fertili[sz]er|cluster|neutron) bombs?|cluster munitions?|"
    r"weapons?-grade (?:uranium|plutonium)|vx(?: gas| agent)?)\b"
)
# One of these is in every text that names one.
WEAPON_HINTS = WEAPON_WORDS | word_set(
    "nerve mustard weapon weapons nuclear atomic bomb bombs warhead warheads munition munitions uranium plutonium vx",
    "explosive explosives radiological",
)
