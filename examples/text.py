"""Text (one axis): which language is a sentence in? Learnt from half a page of five books each.

    python examples/text.py ["A sentence of your own." ...]

A text is a row of bytes, and each byte is a token, so there is no dictionary and no unknown word.
The network is that of Y. Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP
2014: kernels of 3, 4 and 5 letters slide over the text, and the maximum of each feature map counts.
Needs only Faltung and NumPy.
"""

import argparse
import textwrap

import numpy as np

from faltung import Model, nets

# The openings of books in the public domain.
BOOKS = {
    "English": (
        "Melville, Moby-Dick",
        """Call me Ishmael. Some years ago - never mind how long precisely - having little or no
        money in my purse, and nothing particular to interest me on shore, I thought I would sail
        about a little and see the watery part of the world. It is a way I have of driving off the
        spleen, and regulating the circulation. Whenever I find myself growing grim about the mouth;
        whenever it is a damp, drizzly November in my soul; whenever I find myself involuntarily
        pausing before coffin warehouses, and bringing up the rear of every funeral I meet; and
        especially whenever my hypos get such an upper hand of me, that it requires a strong moral
        principle to prevent me from deliberately stepping into the street, and methodically
        knocking people's hats off - then, I account it high time to get to sea as soon as I can.
        This is my substitute for pistol and ball. With a philosophical flourish Cato throws himself
        upon his sword; I quietly take to the ship. There is nothing surprising in this.""",
    ),
    "German": (
        "Kafka, Die Verwandlung",
        """Als Gregor Samsa eines Morgens aus unruhigen Träumen erwachte, fand er sich in seinem
        Bett zu einem ungeheueren Ungeziefer verwandelt. Er lag auf seinem panzerartig harten Rücken
        und sah, wenn er den Kopf ein wenig hob, seinen gewölbten, braunen, von bogenförmigen
        Versteifungen geteilten Bauch, auf dessen Höhe sich die Bettdecke, zum gänzlichen
        Niedergleiten bereit, kaum noch erhalten konnte. Seine vielen, im Vergleich zu seinem
        sonstigen Umfang kläglich dünnen Beine flimmerten ihm hilflos vor den Augen. Was ist mit mir
        geschehen?, dachte er. Es war kein Traum. Sein Zimmer, ein richtiges, nur etwas zu kleines
        Menschenzimmer, lag ruhig zwischen den vier wohlbekannten Wänden. Über dem Tisch, auf dem
        eine auseinandergepackte Musterkollektion von Tuchwaren ausgebreitet war - Samsa war
        Reisender -, hing das Bild, das er vor kurzem aus einer illustrierten Zeitschrift
        ausgeschnitten und in einem hübschen, vergoldeten Rahmen untergebracht hatte.""",
    ),
    "French": (
        "Descartes, Discours de la méthode",
        """Le bon sens est la chose du monde la mieux partagée; car chacun pense en être si bien
        pourvu, que ceux même qui sont les plus difficiles à contenter en toute autre chose n'ont
        point coutume d'en désirer plus qu'ils en ont. En quoi il n'est pas vraisemblable que tous
        se trompent: mais plutôt cela témoigne que la puissance de bien juger et distinguer le vrai
        d'avec le faux, qui est proprement ce qu'on nomme le bon sens ou la raison, est
        naturellement égale en tous les hommes; et ainsi que la diversité de nos opinions ne vient
        pas de ce que les uns sont plus raisonnables que les autres, mais seulement de ce que nous
        conduisons nos pensées par diverses voies, et ne considérons pas les mêmes choses. Car ce
        n'est pas assez d'avoir l'esprit bon, mais le principal est de l'appliquer bien. Les plus
        grandes âmes sont capables des plus grands vices aussi bien que des plus grandes vertus.""",
    ),
    "Spanish": (
        "Cervantes, Don Quijote",
        """En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que
        vivía un hidalgo de los de lanza en astillero, adarga antigua, rocín flaco y galgo corredor.
        Una olla de algo más vaca que carnero, salpicón las más noches, duelos y quebrantos los
        sábados, lantejas los viernes, algún palomino de añadidura los domingos, consumían las tres
        partes de su hacienda. El resto della concluían sayo de velarte, calzas de velludo para las
        fiestas, con sus pantuflos de lo mesmo, y los días de entresemana se honraba con su vellorí
        de lo más fino. Tenía en su casa una ama que pasaba de los cuarenta, y una sobrina que no
        llegaba a los veinte, y un mozo de campo y plaza, que así ensillaba el rocín como tomaba la
        podadera. Frisaba la edad de nuestro hidalgo con los cincuenta años; era de complexión
        recia, seco de carnes, enjuto de rostro, gran madrugador y amigo de la caza.""",
    ),
    "Latin": (
        "Caesar, De bello Gallico",
        """Gallia est omnis divisa in partes tres, quarum unam incolunt Belgae, aliam Aquitani,
        tertiam qui ipsorum lingua Celtae, nostra Galli appellantur. Hi omnes lingua, institutis,
        legibus inter se differunt. Gallos ab Aquitanis Garumna flumen, a Belgis Matrona et Sequana
        dividit. Horum omnium fortissimi sunt Belgae, propterea quod a cultu atque humanitate
        provinciae longissime absunt, minimeque ad eos mercatores saepe commeant atque ea quae ad
        effeminandos animos pertinent important, proximique sunt Germanis, qui trans Rhenum
        incolunt, quibuscum continenter bellum gerunt. Qua de causa Helvetii quoque reliquos Gallos
        virtute praecedunt, quod fere cotidianis proeliis cum Germanis contendunt, cum aut suis
        finibus eos prohibent aut ipsi in eorum finibus bellum gerunt. Eorum una pars, quam Gallos
        obtinere dictum est, initium capit a flumine Rhodano.""",
    ),
}
LANGUAGES = tuple(BOOKS)
LENGTH = 60  # bytes that the network reads at once
STRANGERS = (  # Dickens, Goethe, Proust, Bécquer, Virgil
    "It was the best of times, it was the worst of times.",
    "Habe nun, ach! Philosophie, Juristerei und Medizin durchaus studiert.",
    "Longtemps, je me suis couché de bonne heure.",
    "Volverán las oscuras golondrinas en tu balcón sus nidos a colgar.",
    "Arma virumque cano, Troiae qui primus ab oris Italiam fato profugus venit.",
)


def tokens(text: str) -> np.ndarray:
    """The bytes of a text in lower case, with any white space as one blank."""
    return np.frombuffer(" ".join(text.lower().split()).encode(), np.uint8)


def windows(row: np.ndarray, step: int) -> np.ndarray:
    """Pieces of a row, one every ``step`` bytes: (n, LENGTH); a short row is padded with 0."""
    row = np.concatenate([row, np.zeros(max(0, LENGTH - len(row)), np.uint8)])
    return np.lib.stride_tricks.sliding_window_view(row, LENGTH)[::step]


def pieces(parts: dict[str, np.ndarray], step: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces (n, LENGTH) of all languages, and their labels (n,)."""
    cut = [windows(parts[name], step) for name in LANGUAGES]
    labels = np.repeat(np.arange(len(cut)), list(map(len, cut)))
    return np.concatenate(cut), labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sentences", nargs="*", help="sentences to classify")
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()

    rows = {name: tokens(text) for name, (_, text) in BOOKS.items()}
    cut = {name: len(row) * 3 // 4 for name, row in rows.items()}
    x, y = pieces({name: row[: cut[name]] for name, row in rows.items()}, 2)
    held = pieces({name: row[cut[name] :] for name, row in rows.items()}, 5)
    options = dict(vocabulary=256, features=16, maps=64)
    net = nets.get("textcnn", classes=len(LANGUAGES), input_shape=(LENGTH,), **options)
    model = Model(net, (LENGTH,), tokens=True, classes=LANGUAGES)
    print(f"{len(x)} pieces of {LENGTH} bytes to train on, {len(held[0])} later ones to test on")
    print(model)
    history = model.fit(x, y, epochs=given.epochs, lr=0.002, show=False)
    seconds = sum(row.seconds or 0 for row in history)
    score = model.evaluate(*held)["accuracy"]
    print(f"{len(history)} epochs in {seconds:.1f} s: {score:.1%} of the pieces right\n")

    for sentence in given.sentences or STRANGERS:
        # A long sentence has several pieces; average their probabilities.
        said = model.predict(windows(tokens(sentence), 5)).mean(0)
        first, second = np.argsort(-said)[:2]
        print(textwrap.shorten(sentence, 50, placeholder="...").ljust(52), end="")
        print(f"{LANGUAGES[first]} {said[first]:.0%}, {LANGUAGES[second]} {said[second]:.0%}")


if __name__ == "__main__":
    main()
