"""Lines that belong to a page and not to its text: cookie and privacy notices, navigation, buttons to share.

The phrases are data, by language, and few: what hardly ever is a line of prose. They were written for this project from
what web pages of these languages carry.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple, cast

from pydantic import Field

import factory
from factory import Drop, Text

from ..lists import read_list

# A line that is one of these, but for case, bullets and arrows around it. A single word counts only where it does not
# begin with a small letter, or the last line of a wrapped paragraph, `search`, would go.
WHOLE = {
    "en": """
        read more | continue reading | learn more | show more | load more | see more | view all | click here
        read next | skip to content | skip to main content | skip to navigation | jump to navigation
        back to top | table of contents | home | menu | main menu | search | login | log in | sign in | sign up
        register | my account | contact | contact us | about us | privacy policy | cookie policy
        terms of service | terms of use | terms and conditions | sitemap | site map | all rights reserved
        share | share this | share this article | share on facebook | share on twitter | tweet | pin it
        email this | print | print this page | like this | follow us | subscribe | advertisement
        related articles | related posts | recent posts | popular posts | previous post | next post | previous
        next | leave a comment | leave a reply | post a comment | add to cart | accept | accept all cookies
        accept cookies | reject all
    """,
    "de": """
        weiterlesen | mehr lesen | mehr erfahren | mehr anzeigen | zum inhalt springen | nach oben
        zum seitenanfang | startseite | menü | hauptmenü | suche | suchen | anmelden | registrieren | kontakt
        impressum | datenschutz | datenschutzerklärung | agb | teilen | artikel teilen | auf facebook teilen
        drucken | seite drucken | anzeige | werbung | folgen sie uns | newsletter abonnieren | verwandte artikel
        ähnliche beiträge | vorheriger beitrag | nächster beitrag | kommentar schreiben | in den warenkorb
        alle cookies akzeptieren | cookie-einstellungen
    """,
    "fr": """
        lire la suite | en savoir plus | voir plus | voir tout | aller au contenu | retour en haut
        haut de page | accueil | menu principal | rechercher | connexion | se connecter | s'inscrire
        nous contacter | mentions légales | politique de confidentialité | conditions d'utilisation
        plan du site | partager | partager cet article | partager sur facebook | imprimer | publicité
        suivez-nous | s'abonner | articles similaires | article précédent | article suivant
        laisser un commentaire | ajouter au panier | tout accepter | tous droits réservés
    """,
    "es": """
        leer más | seguir leyendo | ver más | ver todo | saber más | saltar al contenido | ir al contenido
        volver arriba | inicio | menú | buscar | iniciar sesión | registrarse | contacto | contáctenos
        aviso legal | mapa del sitio | política de privacidad | política de cookies | términos y condiciones
        compartir | compartir en facebook | imprimir | publicidad | síguenos | suscríbete
        artículos relacionados | entrada anterior | entrada siguiente | deja un comentario | añadir al carrito
        aceptar todo | todos los derechos reservados
    """,
    "pt": """
        leia mais | continue lendo | ver mais | saiba mais | ir para o conteúdo | pular para o conteúdo
        voltar ao topo | página inicial | entrar | cadastre-se | fale conosco | política de privacidade
        termos de uso | mapa do site | compartilhar | partilhar | imprimir | publicidade | siga-nos
        artigos relacionados | deixe um comentário | adicionar ao carrinho | aceitar todos
        todos os direitos reservados
    """,
    "it": """
        leggi tutto | continua a leggere | leggi di più | scopri di più | mostra altro | vai al contenuto
        torna su | accedi | registrati | contatti | chi siamo | informativa sulla privacy | note legali
        mappa del sito | condividi | condividi su facebook | stampa | pubblicità | seguici | articoli correlati
        lascia un commento | aggiungi al carrello | accetta tutti | tutti i diritti riservati
    """,
    "ru": """
        читать далее | читать дальше | подробнее | показать ещё | показать еще | перейти к содержанию | наверх
        главная | меню | поиск | войти | вход | регистрация | контакты | о нас | политика конфиденциальности
        карта сайта | поделиться | распечатать | реклама | подписаться | похожие статьи | предыдущая запись
        следующая запись | оставить комментарий | добавить в корзину | принять все | все права защищены
    """,
    "zh": """
        阅读更多 | 阅读全文 | 查看更多 | 查看全部 | 了解更多 | 显示更多 | 加载更多 | 继续阅读 | 点击查看
        跳到内容 | 跳至主要内容 | 返回顶部 | 回到顶部 | 首页 | 网站首页 | 返回首页 | 菜单 | 导航 | 搜索 | 登录
        注册 | 免费注册 | 联系我们 | 关于我们 | 隐私政策 | 服务条款 | 使用条款 | 网站地图 | 版权所有 | 分享
        分享到 | 分享到微信 | 分享到微博 | 收藏 | 点赞 | 打印 | 打印本页 | 广告 | 关注我们 | 扫一扫 | 相关文章
        相关阅读 | 相关推荐 | 上一篇 | 下一篇 | 上一页 | 下一页 | 发表评论 | 加入购物车 | 閱讀更多 | 閱讀全文
        回首頁 | 首頁 | 搜尋 | 登入 | 註冊 | 聯絡我們 | 關於我們 | 隱私權政策 | 網站地圖 | 相關文章
    """,
    "ja": """
        続きを読む | もっと見る | もっと読む | 詳しくはこちら | 詳細を見る | すべて表示 | コンテンツへスキップ
        本文へスキップ | ページの先頭へ | トップへ戻る | ホーム | メニュー | 検索 | ログイン | 新規登録
        会員登録 | お問い合わせ | 会社概要 | プライバシーポリシー | 個人情報保護方針 | 利用規約 | サイトマップ
        シェア | シェアする | ツイート | 印刷 | 広告 | フォローする | 関連記事 | 人気記事 | 前の記事 | 次の記事
        前へ | 次へ | コメントを残す | カートに入れる
    """,
}
# Anchor → phrases: a short line that holds the phrase is a notice. The anchor is sought once in a text, and its phrases
# only where it occurs.
NOTICES = {
    "cookie": """
        uses cookies | use cookies | use of cookies | accept cookies | cookie settings | cookie preferences
        cookie policy | verwendet cookies | verwenden cookies | nutzt cookies | nutzen cookies
        verwendung von cookies | einsatz von cookies | utilise des cookies | utilisons des cookies
        utilisation de cookies | utilisation des cookies | utiliza cookies | utilizamos cookies | usa cookies
        uso de cookies | usamos cookies | utilizzo dei cookie | utilizza cookie | utilizza i cookie
        использует cookie | используем cookie | 使用cookie | 使用 cookie | cookieを使用 | cookie を使用
    """,
    "クッキー": "クッキーを使用",
    "файлы куки": "использует файлы куки | используем файлы куки",
    "javascript": """
        enable javascript | javascript is disabled | javascript is required | turn on javascript
        javascript aktivieren | activez javascript | activer javascript | habilite javascript
        active javascript | включите javascript | 启用javascript | 启用 javascript | javascriptを有効
        javascript を有効
    """,
    "newsletter": """
        subscribe to our newsletter | sign up for our newsletter | newsletter abonnieren | newsletter anmelden
        inscrivez-vous à notre newsletter | abonnez-vous à notre newsletter | suscríbete a nuestra newsletter
        iscriviti alla newsletter
    """,
    "powered by": """
        powered by wordpress | powered by drupal | powered by phpbb | powered by vbulletin | powered by blogger
    """,
    "this site is protected by": "this site is protected by recaptcha",
    "ad blocker": "disable your ad blocker | using an ad blocker",
    "扫码": "扫码关注 | 扫码下载 | 微信扫码",
    "未经": "未经授权不得转载 | 未经许可不得转载 | 未经授权，不得转载 | 未经许可，不得转载",
    "無断転載": "無断転載を禁",
}
EDGES = " \t\r\xa0\u3000*•·●◦▪‣|»›>→⟶▶►»«‹<←◀↑⇧▲▼↓…[]【】"
ENDS = ".!"
RIGHTS = re.compile(
    r"\W*(?:copyright|©|\(c\)).{0,150}(?:all rights reserved|alle rechte vorbehalten|tous droits réservés"
    r"|(?:todos los )?derechos reservados|tutti i diritti riservati|todos os direitos reservados|все права защищены"
    r"|版权所有|版權所有)\W*"
)


class Phrases(NamedTuple):
    """What lines are compared with, folded."""

    whole: frozenset[str]
    notices: dict[str, tuple[str, ...]]
    longest: int  # characters of a line that can be a whole phrase, with what may stand around it


@factory.step
def drop_boilerplate_lines(
    record: Text,
    phrases: Path | None = None,
    built_in: bool = True,
    max_chars: Annotated[int, Field(ge=1)] = 200,
) -> Text:
    """Take out lines of a web page that are no text: notices on cookies, navigation, buttons to share, `Read more`.

    A line goes when it is nothing but a known phrase (case, bullets and arrows around it do not count), when it is
    short and holds a known notice (`we use cookies`), or when it is a copyright line that ends in `all rights
    reserved`. The phrases are for English, German, French, Spanish, Portuguese, Italian, Russian, Chinese and Japanese.
    Within code fences nothing goes. How many lines went is in meta.boilerplate_lines; of blank lines that then meet,
    one stays; a text of which nothing stays is dropped. About 35 MB/s a core.

    phrases    more of them, one a line, blank lines and lines with # at the beginning aside; `*phrase*` is a notice,
               to be found anywhere in a short line
    built_in   also use the phrases that come with the step
    max_chars  a line longer than this holds no notice
    """
    text = record["text"]
    known = built_in_phrases() if built_in else Phrases(frozenset(), {}, 0)
    if phrases is not None:
        own = read_list(phrases, own_phrases)
        assert own is not None  # read_list has refused it
        known = _together(known, own)
    folded = text.casefold()
    notices = [phrase for anchor, held in known.notices.items() if anchor in folded for phrase in held]
    rights = built_in and ("©" in folded or "copyright" in folded or "(c)" in folded)
    lines, lows = text.split("\n"), folded.split("\n")
    found = {
        at
        for at, low in enumerate(lows)
        if len(low) <= known.longest and low.strip(EDGES).rstrip(ENDS) in known.whole and is_phrase(lines[at])
    }
    if notices or rights:
        found |= {at for at, low in enumerate(lows) if len(low) <= max_chars and is_notice(low, notices, rights)}
    if found:
        found -= _fenced(lows)
    if not found:
        return record
    kept: list[str] = []
    for at, line in enumerate(lines):
        if at not in found and (line.strip() or not kept or kept[-1].strip() or at - 1 not in found):
            kept.append(line)
    made = "\n".join(kept).strip("\n")
    if not made.strip():
        raise Drop("only boilerplate", lines=len(found))
    return cast(Text, {**record, "text": made, "meta": {**record.get("meta", {}), "boilerplate_lines": len(found)}})


def is_phrase(line: str) -> bool:
    """Whether a line whose words are a phrase is also written like one, and not like the end of a paragraph."""
    bare = line.strip(EDGES)
    return not bare[0].islower() if " " not in bare or bare.endswith(tuple(ENDS)) else True


def _fenced(lows: list[str]) -> set[int]:
    """Which lines stand in code fences."""
    inside, found = False, set()
    for at, line in enumerate(lows):
        if line.startswith(("```", "~~~")):
            inside = not inside
        elif inside:
            found.add(at)
    return found


def is_notice(folded: str, notices: list[str], rights: bool) -> bool:
    """Whether a line holds one of the notices, or (where `rights`) is a copyright line; all is given folded."""
    return any(phrase in folded for phrase in notices) or (rights and RIGHTS.fullmatch(folded) is not None)


@lru_cache(maxsize=1)
def built_in_phrases() -> Phrases:
    """The phrases above, split and folded."""
    whole = frozenset(_folded(phrase) for data in WHOLE.values() for phrase in _split(data))
    notices = {anchor.casefold(): tuple(map(str.casefold, _split(data))) for anchor, data in NOTICES.items()}
    return Phrases(whole, notices, _longest(whole))


def _longest(whole: frozenset[str]) -> int:
    return max(map(len, whole), default=-20) + 20


def _split(data: str) -> list[str]:
    return [phrase.strip() for line in data.splitlines() for phrase in line.split("|") if phrase.strip()]


def _folded(phrase: str) -> str:
    return phrase.casefold().strip(EDGES).rstrip(ENDS)


def own_phrases(given: Sequence[str]) -> Phrases | None:
    """The phrases of a user's list; None when there is none in it."""
    marked = [line for line in given if len(line) > 2 and line.startswith("*") and line.endswith("*")]
    whole = frozenset(filter(None, (_folded(line) for line in given if line not in marked)))
    inner = [line[1:-1].strip().casefold() for line in marked]
    notices: dict[str, tuple[str, ...]] = {phrase: (phrase,) for phrase in inner if phrase}
    return Phrases(whole, notices, _longest(whole)) if whole or notices else None


@lru_cache(maxsize=16)
def _merged(*whole: frozenset[str]) -> frozenset[str]:
    return frozenset().union(*whole)


def _together(first: Phrases, second: Phrases) -> Phrases:
    notices = dict(first.notices)
    for anchor, held in second.notices.items():
        notices[anchor] = notices.get(anchor, ()) + held
    return Phrases(_merged(first.whole, second.whole), notices, max(first.longest, second.longest))
