"""How English writes an age below 18, and what follows a number that is no age."""

BELOW_18 = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
)
TEENS = "|".join(BELOW_18[13:])
_NUMBER_WORDS = (*BELOW_18, "eighteen", "nineteen", "twenty")
NUMBER = rf"(?:\d{{1,2}}|{'|'.join(_NUMBER_WORDS)})"
DIGITS = r"(?<![\d.,'])(?:1 ?[0-7]|[1-9])(?!\w)"
AGE = rf"(?<![\d.,'])(?:1 ?[0-7]|\d|{'|'.join(BELOW_18)})(?!\w)"
# The small ones count things more often than they are ages: "my sister, two dogs and I".
AGE_FROM_FIVE = rf"(?<![\d.,'])(?:1 ?[0-7]|[3-9]|{'|'.join(BELOW_18[5:])})(?!\w)"
FIELD_AGE = rf"(?:1 ?[0-7]|[1-9]|{'|'.join(BELOW_18[1:])})(?!\w)"
YEARS = r"(?:years?|yrs?)"
_MANY = r"hundred|thousand|million|billion|dozen|decades?|centur\w+|millenn\w+|a?eons"
_TIMES = r"percent|seconds?|mins?|minutes?|hours?|hrs?|days?|weeks?|months?|times?|pm|am|o'clock"
_MEASURES = (
    r"km|kilomet\w+|miles?|m|met(?:er|re)s?|cm|mm|feet|foot|ft|inch(?:es)?|kg|kilos?|grams?|pounds?|lbs?|stone|tons?|"
    r"dollars?|euros?|bucks|cents|points?|degrees?|pages?|chapters?|blocks?|floors?|steps?"
)
_THINGS = r"people|persons|men|women|things?|others?|more(?! or less)|less"
# "she is 15" states an age; "she is 15 minutes late" and "she is 5 to 10 feet away" do not.
NOT_A_QUANTITY = (
    rf"(?![.,:/]?\d)(?!['\"%]\d?)(?! 000\b)(?! ?-?(?:%|{_TIMES}|{_MANY}|{_MEASURES}|{_THINGS}|of|out|to|in|"
    r"years? (?!old|of age|young))\b)"
)
OF_AGE = rf"{AGE}{NOT_A_QUANTITY}"
# After "Age:" nearly everything is an age, also "15 years", "15 in human years" and "9 months".
NOT_IN_A_FIELD = (
    rf"(?![.,:/]?\d)(?!'\d)(?! 000\b)(?! ?-?(?:%|percent|seconds?|mins?|minutes?|hours?|{_MANY}|{_MEASURES}|"
    rf"{_THINGS}|of)\b)"
)
MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
