"""The languages that Whisper knows, by their names in English, as verbose_json tells them."""

LANGUAGES = dict(
    pair.split(":")
    for pair in (
        "afrikaans:af albanian:sq amharic:am arabic:ar armenian:hy assamese:as azerbaijani:az bashkir:ba basque:eu "
        "belarusian:be bengali:bn bosnian:bs breton:br bulgarian:bg burmese:my cantonese:yue castilian:es catalan:ca "
        "chinese:zh croatian:hr czech:cs danish:da dutch:nl english:en estonian:et faroese:fo finnish:fi flemish:nl "
        "french:fr galician:gl georgian:ka german:de greek:el gujarati:gu haitian:ht hausa:ha hawaiian:haw hebrew:he "
        "hindi:hi hungarian:hu icelandic:is indonesian:id italian:it japanese:ja javanese:jw kannada:kn kazakh:kk "
        "khmer:km korean:ko lao:lo latin:la latvian:lv lingala:ln lithuanian:lt luxembourgish:lb macedonian:mk "
        "malagasy:mg malay:ms malayalam:ml maltese:mt mandarin:zh maori:mi marathi:mr mongolian:mn myanmar:my "
        "nepali:ne norwegian:no nynorsk:nn occitan:oc pashto:ps persian:fa polish:pl portuguese:pt punjabi:pa "
        "romanian:ro russian:ru sanskrit:sa serbian:sr shona:sn sindhi:sd sinhala:si slovak:sk slovenian:sl somali:so "
        "spanish:es sundanese:su swahili:sw swedish:sv tagalog:tl tajik:tg tamil:ta tatar:tt telugu:te thai:th "
        "tibetan:bo turkish:tr turkmen:tk ukrainian:uk urdu:ur uzbek:uz vietnamese:vi welsh:cy yiddish:yi yoruba:yo"
    ).split()
)
SYNONYMS = {"burmese", "castilian", "flemish", "mandarin"}  # of myanmar, spanish, dutch, chinese
NAMES = {code: name for name, code in LANGUAGES.items() if name not in SYNONYMS}
