"""What the door's own pages say, in English and German: they must work before anything else of the page may load."""

from typing import Literal

Language = Literal["en", "de"]
LANGUAGES: tuple[Language, ...] = ("en", "de")

_WORDS = {
    "login.title": ("Come in", "Hereinkommen"),
    "login.with_name": ("This place is private. Log in to come in.", "Dieser Ort ist privat. Melde dich an."),
    "login.with_key": (
        "This place is private. Enter its key to come in.",
        "Dieser Ort ist privat. Gib den Schlüssel ein.",
    ),
    "login.name": ("Name", "Name"),
    "login.password": ("Password", "Passwort"),
    "login.key": ("Key", "Schlüssel"),
    "login.enter": ("Come in", "Hereinkommen"),
    "login.use_key": ("I have a key instead", "Ich habe stattdessen einen Schlüssel"),
    "login.wrong_password": (
        "This name and this password do not belong together.",
        "Dieser Name und dieses Passwort gehören nicht zusammen.",
    ),
    "login.wrong_key": ("That is not the key.", "Das ist nicht der Schlüssel."),
    "age.title": ("For adults", "Für Erwachsene"),
    "age.about": (
        "{name} is rated “{rating}” and is for adults only.",
        "{name} ist als „{rating}“ eingestuft und nur für Erwachsene.",
    ),
    "age.about_any": (
        "Some characters here are for adults only.",
        "Einige Figuren hier sind nur für Erwachsene.",
    ),
    "age.back": ("Back", "Zurück"),
    "age.go_on": ("Go on", "Weiter"),
    "age.proven": (
        "You have shown that you are an adult. This holds until {date}.",
        "Du hast gezeigt, dass du erwachsen bist. Das gilt bis {date}.",
    ),
    "age.attested": (
        "You have said on {made} that you are an adult and that only adults use this machine's characters for adults. "
        "This holds until {date}.",
        "Du hast am {made} erklärt, dass du erwachsen bist und dass nur Erwachsene die Figuren für Erwachsene auf "
        "diesem Gerät nutzen. Das gilt bis {date}.",
    ),
    "age.revoke": ("Take this back", "Zurücknehmen"),
    "age.attest_about": (
        "You run this server on your own machine. Whoever can use this machine can then see these characters.",
        "Du betreibst diesen Server auf deinem eigenen Gerät. Wer dieses Gerät nutzen kann, kann dann diese Figuren "
        "sehen.",
    ),
    "age.attest": (
        "I am 18 or older and see to it that nobody younger uses these characters here.",
        "Ich bin 18 oder älter und sorge dafür, dass niemand Jüngeres diese Figuren hier nutzt.",
    ),
    "age.attest_send": ("Confirm", "Bestätigen"),
    "age.none": (
        "This server has no way to check it, so this character cannot be reached from here. A statement of your own is "
        "not enough. Whoever runs the server can set up a check.",
        "Dieser Server kann das nicht prüfen, deshalb ist diese Figur von hier aus nicht erreichbar. Eine eigene "
        "Erklärung genügt nicht. Wer den Server betreibt, kann eine Prüfung einrichten.",
    ),
    "age.no_subject": (
        "A proof of age belongs to a person. Log in with a browser first.",
        "Ein Altersnachweis gehört zu einer Person. Melde dich zuerst mit einem Browser an.",
    ),
    "age.start_about": (
        "An age verification app on your phone can prove that you are 18 or older. It tells this server only that, not "
        "who you are and not when you were born. Nothing else is asked for or kept.",
        "Eine Altersnachweis-App auf deinem Telefon kann belegen, dass du 18 oder älter bist. Sie sagt diesem Server "
        "nur das, nicht wer du bist und nicht, wann du geboren bist. Mehr wird nicht gefragt und nicht gespeichert.",
    ),
    "age.start": ("Prove it with an app", "Mit einer App nachweisen"),
    "age.open_app": ("Open the app on this device", "App auf diesem Gerät öffnen"),
    "age.scan": ("or scan this with your phone:", "oder scanne dies mit deinem Telefon:"),
    "age.waiting": (
        "Waiting for the app. This page looks again by itself.",
        "Es wird auf die App gewartet. Diese Seite sieht von selbst wieder nach.",
    ),
    "age.look_again": ("Look again", "Noch einmal nachsehen"),
    "age.code_about": (
        "The app has answered. Type the code that your phone shows now.",
        "Die App hat geantwortet. Gib den Code ein, den dein Telefon jetzt zeigt.",
    ),
    "age.code": ("Code", "Code"),
    "age.code_send": ("Finish", "Abschließen"),
    "age.code_wrong": ("That is not the code.", "Das ist nicht der Code."),
    "age.code_show": (
        "If you have started this on another device, type this code there. Never give it to anybody else: who has it "
        "gets your proof of age.",
        "Wenn du auf einem anderen Gerät angefangen hast, gib diesen Code dort ein. Gib ihn niemand anderem: Wer ihn "
        "hat, bekommt deinen Altersnachweis.",
    ),
    "age.refused": ("The proof was not accepted: {reason}.", "Der Nachweis wurde nicht angenommen: {reason}."),
    "age.again": ("Start again", "Neu beginnen"),
    "age.over": ("This attempt is over.", "Dieser Versuch ist vorbei."),
}


def say(key: str, language: Language, **values: str) -> str:
    """Return a text of the table with its values filled in."""
    return _WORDS[key][LANGUAGES.index(language)].format(**values)
