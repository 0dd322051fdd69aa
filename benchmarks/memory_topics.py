"""What two people talk about in the made-up dialogues of `benchmarks/memory.py`.

A topic is an event in someone's life: `ask` is how the other leads to it, `say` how it is told (the evidence), `more` a
second detail told later (evidence of its own), `react` what is said back, `when`/`what`/`more_what` how it is asked for
months afterwards, in other words. `{slots}` are drawn, the first slot never twice for the same person.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of event, with the words it is told and asked in."""

    name: str
    slots: dict[str, tuple[str, ...]]
    ask: tuple[str, ...]
    say: tuple[str, ...]
    react: tuple[str, ...]
    when: tuple[str, ...]
    what: tuple[str, ...]
    more: tuple[str, ...] = ()
    more_what: tuple[str, ...] = ()
    every: tuple[str, ...] = ()
    would: tuple[str, ...] = ()
    family: str = field(default="tune")


TOPICS: tuple[Topic, ...] = (
    Topic(
        "class",
        {
            "thing": ("pottery", "salsa", "watercolour", "archery", "sign language", "yoga", "bread baking", "fencing"),
            "place": ("the community centre", "a studio downtown", "the old mill", "the library annex"),
        },
        ("Anything new on your side?", "Did you ever look for a hobby?", "What have you been up to after work?"),
        (
            "I finally signed up for a {thing} course {time}, it's at {place}.",
            "Guess what, {time} I had my first {thing} lesson over at {place}!",
            "So I took the plunge and joined a {thing} group {time}.",
        ),
        ("That's brave! How did it go?", "Ooh, I've always been curious about that.", "Love that for you."),
        ("When did {name} start learning {thing}?", "When did {name} begin the {thing} class?"),
        ("Where does {name} take {thing} lessons?", "What does {name} do at {place}?"),
        (
            "The teacher said I have steady hands, which made my week.",
            "My arms were sore for days, honestly.",
            "There were only five of us and everyone was over sixty!",
        ),
        ("What did the {thing} teacher say about {name}?", "How many people were in {name}'s {thing} class?"),
        ("What classes has {name} taken?", "Which hobbies has {name} tried to learn?"),
        ("Would {name} be likely to enjoy a weekend workshop?",),
    ),
    Topic(
        "trip",
        {
            "place": ("Lisbon", "the Highlands", "Kyoto", "Banff", "Marrakesh", "the Dolomites", "Reykjavik", "Oaxaca"),
            "who": ("my cousin", "my mum", "two friends from college", "my brother", "nobody but my backpack"),
        },
        ("You look tanned! Were you away?", "Any travel lately?", "How was your break?"),
        (
            "We flew to {place} {time} and I still dream of it. I went with {who}.",
            "I got back from {place}, left {time} with {who}.",
            "{place} was unreal, I spent a whole week there {time}.",
        ),
        ("I'm so jealous!", "The photos must be stunning.", "That sounds like just what you needed."),
        ("When did {name} travel to {place}?", "When was {name}'s vacation in {place}?"),
        ("Who accompanied {name} to {place}?", "Who did {name} go to {place} with?"),
        (
            "The best part was getting lost in the alleys and ending up in a tiny tea room.",
            "I lost my passport on the second day and the embassy had to help.",
            "It rained every single day but I didn't mind.",
        ),
        ("What went wrong during {name}'s stay in {place}?", "What was the weather like on {name}'s trip to {place}?"),
        ("Which places has {name} visited?", "Where has {name} been on holiday?"),
        ("Would {name} rather spend money on travelling or on furniture?",),
    ),
    Topic(
        "pet",
        {
            "thing": ("a greyhound", "a tabby kitten", "two guinea pigs", "a cockatiel", "a tortoise", "a rescue pony"),
            "called": ("Biscuit", "Olive", "Marlow", "Pepper", "Juno", "Waffles", "Tansy", "Rufus"),
        },
        ("Is it true the house is noisier now?", "How's everyone at home?", "What's that sound behind you?"),
        (
            "Meet the new family member: {thing}, and the name is {called}! We brought them home {time}.",
            "I adopted {thing} {time}. {called} already owns the sofa.",
            "We have {thing} now! {called} moved in {time}.",
        ),
        ("Awww, adorable!", "I need pictures right now.", "Congrats on the little one!"),
        ("When did {name} adopt {called}?", "When did {name} get {thing}?"),
        ("What kind of animal is {called}?", "What is the name of {name}'s new pet?"),
        (
            "{called} chewed through my headphones on day one.",
            "The vet says {called} has a heart murmur, but a mild one.",
            "{called} is scared of the vacuum cleaner and hides in the bathtub.",
        ),
        ("What did {called} destroy?", "What is {called} afraid of?", "What health problem does {called} have?"),
        ("What pets does {name} have?",),
        ("Does {name} live alone?",),
    ),
    Topic(
        "job",
        {
            "thing": (
                "nurse",
                "park ranger",
                "sound engineer",
                "tax adviser",
                "florist",
                "bus driver",
                "lab technician",
            ),
            "place": ("a clinic by the harbour", "the city council", "a start-up", "a family firm"),
        },
        ("How's work treating you?", "Any news about the applications?", "You sound excited, spill it."),
        (
            "I got the offer! {time} I started as a {thing} at {place}.",
            "New chapter: I'm a {thing} now, first day was {time}.",
            "They hired me as a {thing} {time}, can you believe it?",
        ),
        ("Congratulations, you earned it!", "That's huge news!", "I'm proud of you."),
        ("When did {name} start the job as a {thing}?", "When did {name} become a {thing}?"),
        ("What does {name} do for a living?", "Where does {name} work?"),
        (
            "My boss brings her parrot to the meetings, it's hilarious.",
            "The pay is lower but I sleep better at night.",
            "The commute takes ninety minutes each way, that's the only downside.",
        ),
        ("What does {name} dislike about the new position?", "What is funny about {name}'s supervisor?"),
        ("What jobs has {name} had?",),
        ("Is {name} mainly motivated by money?",),
    ),
    Topic(
        "race",
        {
            "thing": (
                "a half marathon",
                "a triathlon",
                "a charity run",
                "an obstacle course",
                "a swim across the lake",
            ),
            "cause": ("the animal shelter", "cancer research", "the food bank", "clean rivers"),
        },
        ("Are you still training?", "Did you do anything sporty?", "How are the knees?"),
        (
            "I did {thing} {time}! We raised money for {cause}.",
            "{time} I crossed the finish line of {thing}, all for {cause}.",
            "My legs are jelly. I completed {thing} {time}.",
        ),
        ("You're a machine!", "That takes real grit.", "Well done, seriously."),
        ("When did {name} take part in {thing}?", "When did {name} finish {thing}?"),
        ("What was {name} raising funds for?", "Which cause did {name}'s sport event support?"),
        (
            "I cried at the end because my dad was waiting there with a sign.",
            "I came in last but one and felt like a queen.",
            "A volunteer handed me pickles halfway and they saved me.",
        ),
        ("Who was waiting for {name} at the finish?", "What food helped {name} during the event?"),
        ("What sport events has {name} taken part in?",),
        ("Would {name} be described as persistent?",),
    ),
    Topic(
        "health",
        {
            "thing": ("my wrist", "my ankle", "a rib", "my collarbone", "my little toe"),
            "how": ("slipping on wet leaves", "falling off a ladder", "tripping over the dog", "a bad tackle"),
        },
        ("Why are you typing so slowly?", "You missed the call, everything alright?", "How are you feeling?"),
        (
            "Not great: I broke {thing} {time}, by {how}.",
            "I ended up in the ER {time} with {thing} fractured. {how}, of all things.",
        ),
        ("Oh no! Does it hurt?", "Ouch. Take care of yourself.", "Poor you, rest well."),
        ("When did {name} get injured?", "When did {name} break {thing}?"),
        ("How did {name} get hurt?", "What injury did {name} have?"),
        (
            "The doctor wants me in a cast for six weeks.",
            "My neighbour cooks for me every evening, bless him.",
            "I can't drive, so I'm learning all the bus lines.",
        ),
        ("How long does {name} have to wear a cast?", "Who prepares meals for {name} since the accident?"),
        ("What accidents has {name} had?",),
        (),
    ),
    Topic(
        "book",
        {
            "thing": (
                "The Salt Road",
                "Paper Lanterns",
                "A Winter of Bees",
                "Nine Harbours",
                "The Clockmaker's Debt",
                "Low Tide",
            ),
            "about": ("a lighthouse keeper", "two rival chefs", "a lost map", "an orphaned pianist"),
        },
        ("Read anything good?", "What's on your nightstand?", "I need something for the train, ideas?"),
        (
            "I just finished {thing}, it's about {about}. I couldn't put it down {time}.",
            "{time} I read {thing} in one sitting. It follows {about}.",
        ),
        ("Adding it to my list!", "Sounds right up my street.", "No spoilers please!"),
        ("When did {name} read {thing}?",),
        ("What is {thing} about?", "Which novel about {about} did {name} read?"),
        (
            "The ending made me call my sister to apologise for an old quarrel.",
            "I underlined half of it.",
            "I lent it to my postman and he loved it too.",
        ),
        ("What did {name} do after finishing {thing}?", "To whom did {name} lend {thing}?"),
        ("What books has {name} read?",),
        ("What kind of stories might {name} like?",),
    ),
    Topic(
        "family",
        {
            "who": (
                "My sister Ingrid",
                "My nephew Theo",
                "My aunt Rosa",
                "My grandfather",
                "My cousin Pavel",
                "My niece Mina",
            ),
            "event": ("got married", "graduated", "moved abroad", "opened a bakery", "had twins", "won a chess cup"),
        },
        ("How's the family?", "You were at a party, right?", "Any family gossip?"),
        ("{who} {event} {time}! We were all in tears.", "Big family news, {who} {event} {time}."),
        ("Give them my best!", "How lovely!", "You must be so happy."),
        ("When did {name}'s relative {event_base}?", "When was the celebration in {name}'s family?"),
        ("Which relative of {name} {event}?", "What did {name}'s {who_short} do?"),
        (
            "I gave a speech and forgot the middle part.",
            "We danced until the neighbours complained.",
            "Grandma wore bright green shoes and stole the show.",
        ),
        ("What did {name}'s grandmother wear?", "What happened during {name}'s speech?"),
        ("What family events has {name} talked about?",),
        ("Is {name} close to the family?",),
    ),
    Topic(
        "garden",
        {
            "thing": ("tomatoes", "sunflowers", "a pear tree", "lavender", "pumpkins", "climbing roses"),
            "pest": ("slugs", "aphids", "a very bold fox", "pigeons"),
        },
        ("How's the balcony?", "Still digging in the dirt?", "What do your weekends look like?"),
        (
            "I planted {thing} {time}, fingers crossed.",
            "{time} I put {thing} in the ground. If only {pest} would stay away.",
        ),
        ("Green fingers!", "Save some for me.", "I kill every plant I touch."),
        ("When did {name} plant {thing}?",),
        ("What is {name} growing?", "What creatures trouble {name}'s plants?"),
        (
            "The neighbour's kid waters everything when I'm out.",
            "I talk to the seedlings every morning, don't laugh.",
            "I won a ribbon at the village fair for it.",
        ),
        ("Who takes care of {name}'s plants?", "What prize did {name} get for gardening?"),
        ("What has {name} planted?",),
        ("Would {name} enjoy a gift card for a plant nursery?",),
    ),
    Topic(
        "music",
        {
            "thing": ("the cello", "the ukulele", "the drums", "the accordion", "the harp"),
            "piece": ("a lullaby", "an old sea shanty", "a film theme", "a waltz"),
        },
        ("Is that an instrument in the corner?", "Do you still sing?", "What's the racket about?"),
        (
            "I picked up {thing} again {time}. I'm working on {piece}.",
            "{time} I bought {thing} second-hand and I'm learning {piece}.",
        ),
        ("Play me something!", "Your poor neighbours!", "Music heals, I swear."),
        ("When did {name} take up {thing}?", "When did {name} purchase {thing}?"),
        ("What instrument does {name} play?", "Which piece is {name} practising?"),
        (
            "I played at the retirement home and an old man started to dance.",
            "My fingers bleed but I grin all day.",
            "I'm in a little trio now, we call ourselves The Late Buses.",
        ),
        ("What is the name of {name}'s band?", "Where did {name} perform?"),
        ("What instruments does {name} play?",),
        ("Would {name} go to a concert hall on a free evening?",),
    ),
    Topic(
        "home",
        {
            "place": ("a flat above a bakery", "a houseboat", "a cottage by the woods", "a loft near the station"),
            "room": ("the kitchen", "the attic", "the hallway", "the bathroom"),
        },
        ("How's the new place?", "Did the moving van arrive?", "Settled in yet?"),
        (
            "I moved into {place} {time}. I'm painting {room} now.",
            "{time} I got the keys to {place}! {room} needs work though.",
        ),
        ("Housewarming party?", "What a dream!", "Send pictures of every corner."),
        ("When did {name} move?", "When did {name} relocate to {place}?"),
        ("What kind of place does {name} live in?", "Which room is {name} renovating?"),
        (
            "We found love letters from 1931 under the floorboards.",
            "The landlord is a retired magician.",
            "There's no heating until spring, so I wear two jumpers.",
        ),
        ("What did {name} discover under the floor?", "What did {name}'s landlord use to do?"),
        ("Where has {name} lived?",),
        (),
        family="held out",
    ),
    Topic(
        "volunteer",
        {
            "thing": ("a soup kitchen", "the youth club", "a beach clean-up", "the hospice", "a repair café"),
            "why": ("I wanted to give back", "a friend dragged me along", "I had been feeling lonely"),
        },
        ("You were busy on Saturday, I heard?", "What keeps you smiling?", "Doing anything meaningful lately?"),
        ("I helped out at {thing} {time}. Honestly, {why}.", "{time} was my first shift at {thing}; {why}."),
        ("The world needs more of you.", "That's so kind.", "I should do that as well."),
        ("When did {name} volunteer at {thing}?", "When was {name}'s first day of helping at {thing}?"),
        ("Why did {name} begin volunteering?", "Where does {name} volunteer?"),
        (
            "A teenager there taught me how to fix a toaster.",
            "Someone hugged me and wouldn't let go, it moved me.",
            "They've asked me to join the board.",
        ),
        ("What skill did a young person teach {name}?", "What role was {name} offered?"),
        ("Where has {name} helped out?",),
        ("Is {name} a generous person?",),
        family="held out",
    ),
    Topic(
        "cooking",
        {
            "dish": ("lentil stew", "lemon tart", "kimchi", "dumplings", "sourdough", "mushroom risotto"),
            "guest": ("my in-laws", "the whole street", "an old flame", "my book club"),
        },
        ("Something smells good even through the phone.", "What's for dinner?", "Been in the kitchen much?"),
        (
            "I made {dish} for {guest} {time} and nobody left a crumb.",
            "{time} I tried my hand at {dish}, I was hosting {guest}.",
        ),
        ("Recipe please!", "You're making me hungry.", "Chef's kiss!"),
        ("When did {name} cook {dish}?", "When did {name} prepare {dish}?"),
        ("Whom did {name} invite for {dish}?", "What did {name} serve to the guests?"),
        (
            "The secret is a spoon of miso, my gran taught me.",
            "The smoke alarm went off twice.",
            "I cut my thumb but the show went on.",
        ),
        ("What is {name}'s secret ingredient?", "From whom did {name} learn the trick with the seasoning?"),
        ("What dishes has {name} made?",),
        ("Would {name} like a voucher for kitchenware?",),
        family="held out",
    ),
    Topic(
        "fear",
        {
            "thing": (
                "an exam in statistics",
                "my driving test",
                "a citizenship interview",
                "a stand-up night",
                "a TED-style talk",
            ),
            "help": ("breathing exercises", "my study group", "long walks", "index cards"),
        },
        ("You seem nervous.", "Big week ahead?", "Did it go well in the end?"),
        ("I passed {thing} {time}! What helped was {help}.", "{time} I survived {thing}, thanks to {help}."),
        ("I knew you could!", "What a relief.", "Let's celebrate!"),
        ("When did {name} pass {thing}?", "When did {name} get through {thing}?"),
        ("What helped {name} to prepare for {thing}?", "How did {name} cope with the nerves?"),
        (
            "Right before it I spilled coffee over my shirt.",
            "Afterwards I slept for fourteen hours.",
            "The examiner turned out to be my old neighbour.",
        ),
        ("What happened to {name}'s clothes?", "Who was the examiner?"),
        ("What challenges has {name} mastered?",),
        ("Does {name} handle stress well?",),
        family="held out",
    ),
)

OPENERS = (
    "Hey {other}! How have you been?",
    "Hi {other}, long time no talk!",
    "{other}! So good to hear from you.",
    "Good evening {other}, got a minute?",
    "Hello hello, how's life, {other}?",
)
ANSWERS = (
    "Hey {other}, all good here. You?",
    "Hi {other}! Busy, but fine.",
    "Can't complain, {other}. What about you?",
)
FILLERS = (
    "The weather has been all over the place.",
    "I've been sleeping badly, but oh well.",
    "Time flies, doesn't it?",
    "I keep meaning to call you more often.",
    "Work has been a lot, same as always.",
    "I watched a film and fell asleep halfway.",
    "My phone keeps dying on me.",
    "The trains were late again.",
    "I need a holiday.",
    "Let's meet up some day soon.",
    "I had coffee with an old colleague.",
    "I cleaned the whole flat, it took ages.",
    "You always know what to say.",
    "I tried a new café around the corner.",
    "Family is everything, I've been thinking about that.",
    "I want to learn something new this year.",
    "Music keeps me going these days.",
    "I should exercise more.",
    "My friends have been very supportive.",
    "I love cooking when I have time.",
    "Pets make every day better, I guess.",
    "Travelling always clears my head.",
    "I took some lovely pictures of the sunset.",
    "Reading calms me down.",
)
REPLIES = (
    "Totally.",
    "I hear you, {other}.",
    "Ha, same here.",
    "That makes sense.",
    "Aww, thanks {other}!",
    "For sure!",
    "I get that.",
    "Really? Tell me more.",
    "So true, {other}.",
    "Wow, that's wonderful!",
)
CLOSERS = ("Talk soon, {other}!", "Take care, {other}.", "Bye for now!", "Let's catch up again next week, {other}.")
NAMES = (
    "Maya",
    "Jonas",
    "Priya",
    "Oscar",
    "Leila",
    "Tom",
    "Greta",
    "Samir",
    "Nadia",
    "Felix",
    "Irene",
    "Hugo",
    "Clara",
    "Bruno",
    "Yuki",
    "Anders",
    "Wanda",
    "Idris",
    "Paula",
    "Kofi",
)
RELATIVE = (
    "yesterday",
    "last week",
    "last Friday",
    "two days ago",
    "last month",
    "on Sunday",
    "the other day",
    "last weekend",
    "a few days ago",
)
