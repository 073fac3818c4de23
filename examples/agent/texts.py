"""What the agent says, in Arabic and English."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Texts:
    language: str
    disclosure: str  # the first sentence of every interview
    welcome: str
    questions: tuple[str, ...]
    next: str
    last: str
    still_there: str
    back: str
    resumed: str
    goodbye: str
    out_of_time: str
    apology: str


ENGLISH = Texts(
    language="en",
    disclosure="Hello. I am an AI interviewer, not a person, and I work for {company}.",
    welcome="Welcome, {name}. We will talk about the position {job}. Answer in your own words, and take your time.",
    questions=(
        "What interests you about the position {job}?",
        "Tell me about a piece of work that you are proud of. What was your own part in it?",
        "Tell me about a problem that was hard to solve. How did you go about it?",
        "What would you like to learn in your next job?",
    ),
    next="Thank you. Next question.",
    last="Thank you. This is the last question.",
    still_there="I did not hear an answer. I will ask once more.",
    back="Welcome back. I will repeat the question.",
    resumed="Excuse the interruption. I am the AI interviewer, and we will go on where we stopped.",
    goodbye="Thank you. That was the last question. The company will read our conversation and contact you. Goodbye.",
    out_of_time="Our time is almost over, so I have to stop here. Thank you for the conversation. Goodbye.",
    apology="I am sorry. I have a technical problem and cannot go on. Please join again later.",
)
ARABIC = Texts(
    language="ar",
    disclosure="مرحبا. أنا محاور آلي يعمل بالذكاء الاصطناعي، ولست إنسانا، وأعمل لصالح {company}.",
    welcome="أهلا بك يا {name}. سنتحدث عن وظيفة {job}. أجب بكلماتك، وخذ وقتك.",
    questions=(
        "ما الذي يثير اهتمامك في وظيفة {job}؟",
        "حدثني عن عمل تفتخر به. ما كان دورك فيه؟",
        "حدثني عن مشكلة كان حلها صعبا. كيف تعاملت معها؟",
        "ماذا تود أن تتعلم في وظيفتك القادمة؟",
    ),
    next="شكرا لك. السؤال التالي.",
    last="شكرا لك. هذا هو السؤال الأخير.",
    still_there="لم أسمع جوابا. سأعيد السؤال مرة واحدة.",
    back="أهلا بعودتك. سأعيد السؤال.",
    resumed="عذرا على الانقطاع. أنا المحاور الآلي، وسنكمل من حيث توقفنا.",
    goodbye="شكرا لك. كان هذا هو السؤال الأخير. ستقرأ الشركة حديثنا وتتواصل معك. مع السلامة.",
    out_of_time="وقتنا على وشك الانتهاء، لذلك علي أن أتوقف هنا. شكرا لك على الحديث. مع السلامة.",
    apology="أعتذر. لدي مشكلة تقنية ولا أستطيع المتابعة. الرجاء الانضمام مرة أخرى لاحقا.",
)


def texts_for(language: str, sample: str) -> Texts:
    """Return the texts of a BCP 47 language, or, without one, of the script that most of the sample's letters have."""
    if language:
        return ARABIC if language.lower().partition("-")[0] == "ar" else ENGLISH
    arabic = sum("\u0600" <= letter <= "\u06ff" for letter in sample)
    latin = sum(letter.isascii() and letter.isalpha() for letter in sample)
    return ARABIC if arabic > latin else ENGLISH
