"""Whether an INT8 model answers here as it did where it was proven: four small pictures, once a processor.

A proof belongs to the processor that it was made on. On x86 without VNNI, engines add two 8-bit products in 16 bits,
which overflow where weights use their whole range: C6's openvino-int8 falls from 36 to 15 dB, its ort-int8 to 29, and
nothing says so. Here a model's logits of four pictures are compared with those that its export wrote into the manifest.

What else differs between processors, such as the precision of the rest, changes some roundings too. How much that is
depends on the weights (C6 and C8 keep 38 dB, random ones 11), so the export measures it, by pictures that are one level
brighter or darker in places, and asks for a little less.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lc2fer import metrics, processor
from lc2fer.errors import MALFORMED, ArtifactError, TargetUnavailable, UsageError
from lc2fer.storage import cache_folder
from lc2fer.targets import KINDS

if TYPE_CHECKING:
    from lc2fer.artifact import Artifact

MOST_DB = 36.0  # that is asked for
_SLACK_DB = 4.0  # below what one level of the pictures' pixels changes
_SIDE = 25  # pixels of a stored picture
# What the engines choose their instructions by, beside the processor.
_CAPS = ("ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "LC2FER_CPU")

# Procedural faces (surprise, happiness, anger, neutral), grey, uint8 [4,25,25]: zlib, base 85.
_FACES = (
    "c-lpl_g9nY6373AdsRp%>Y_jrN+cmbB-BMZNDU$N&6~XGy%$0cB=kT+OQR%&q7hIQv7j#MN>O)Ra9L4TU3Htsd-hMb@$L_Iew@#o`OeHUXU+pK"
    "0VbgCwEO)2IiGKK+T%1E`W%kYQIN?5#U0~w{=nk=!ouRbf6CdRA96VCEEWrD9rOo+i$1?^cE&q9=bmhC8X2}jAY0Wv8(5lkwsDz|)H>##a@sVO"
    "fdK(e&~Enyrc4}GNDSbzjpMG#7JYxOM4~d!%)7-rfkY${@_7&>=yMHey1F&mmVvo3h{5Ct1wtN+Mx`;KHiya3(bi(Ndq84&EtSRRf%U}&Rb(dE"
    "Y*m}Ay`5tsqN&eY&lGTJO)j_RB7;fi$<#x`Vj58Q<ifxtq!l*20~(&uNi5(ZT{1pSsb>TIT)R%yuHtsI(g6?znUzGocal^u6hLg2*x0F(@<E6T"
    "vDvJuM&8r}lO&KUWm2i3T_F_;B@zJy0yO~JJuamwbUK4xVKl3RQk7aM=Ys%^0}k7@3YA8$*8|!%5tXk~sg!~*fMMxXD|u3xOhV5l<xx4@P$o8m"
    "%4AcTTU81W1XxUfOeBF2of+z#K?B%ig<38LsSJR|W`ht1YNU}VG#ZHoQTaTPl*3>!s2q^i$YWFKR62vw2(f8&I$tIVHN|1yIXbxB0|E>Nok9-j"
    "G&XRBQV4?B5QUIl%3*;_fI<Y=5LjEy<%+~iR%i}lDIWj;I<1k!4%x*T4#XF+=>R}wa3E$V4~fWRakx-<Rfuwh)Q~1uBw*3W<WgeD192)UA&3QW"
    "DFv0aR63=;x;&52z~-<aC{!r}U~wpTOlmql6Q4y9hy@~vOsW0{)L~Px>E{XAxp}$uGV%Wb2^%teW_C`_*Tom;Vu?il51?m$@rUB;jk?0(3u2jE"
    "rPVPQG+H4Bo0^$fp_{#Pe|xc^q*g0e>kL#Xg%t9a3P*z9+`Yf^^xz(`T&B|*O=L3p0+!O;sc4(Kwe{%f4e#~qbzrNZslB10A+5F@tftl!`5x|C"
    "D<F1{i)c2rnrrK73)_q)bML6tz5TFt{^rda*A!iy?cG(?98HI*nOVnnUf<ik)i2bn?d`1hboW$LiZy0)uN8E8AME_}bj7f6Yya^>TkqiifNgRr"
    "uzY84=hdsDpN`&t+<!PZFkD&5Xz8*~U%7to(T{s?-oF3+&rhEYcP8xP)zx`C>zHr#=GOM^^LOum`|I=P&-W)?V=f{wpJ;LTuim}3w)5iM{*&MT"
    "^Y`Bay&l&Tm0DT#1zftl(Y7@ge1Gui^Jk%J+B?f)lXJUllk?uo_iqL_4}X66{NvBn^E1-{zJPVEeQ10t(B0R&I5V=i`}3Oxo_}V3Q6!dRbBEpj"
    ")#aJhm3y}z{rc-~`flIM;$?+WP9oSmOV>8Py)=D!@59HB59|EX{@`+G?d4e3L}2CC*4;bz_kVf!maF!7=B})1wHg%zt)2;P+~520@Wq?g2BO0?"
    "v$(o$&}r53ntI*Dm0RCE`QiI-=O~sDw}0vChRLW^E5smQ)zUHG7#o{(b#@KA{K54bCX-&P5U~KUuBE%zHZo#2nn%2W;QB@yE<G(hBO@!nq#oe%"
    "fV#4r*vJSN3>J<{OT(q%GK%VWGNnQxmq8aV#74kFBrP=!mx?bWiByL6=C&rIQdpn&6+9dcOZl>d1w@HKYcv{+O-7SORFeUZ_ySU~nN@t1x^rM+"
    "+%?vvHz|2#F%j?x3?>Cz07$ic<1UY9#^WAs)=J5QsOYE^%sG6eSl444b-Ml2Q(mW|P01=fbLwOYIwg;+uo$F#jeXMTm>B4>XoOYhGiT7r=Sn!{"
    "E~8i?06U!Rd<MwX$QlTU_=IFkgV@p`^wm|EY_3)lgUFXC7+)tPCM9Q*<z{oI4b!ZhnKP?L@)=?ct0Wbjl!&KjEW<-x13gohmqrHL>$FWqW_5aM"
    "QUac$?Xit}yx!TxfP2i^-fL~A)SbsACE|(=){zOX&*NSUc&1!VM}I4gn2t+I#^z`{2Aor#@t*lhcCW|n=re$YI83Nqg0R_Q8?z6Ibe+l(=Y-8F"
    "E6z$uI+u*b1G=V`PV=Byr|s;w+j?5b`5CALG&(W8N~Ta5b-jaD%V1}RNv|l%!XV<XNeQ@Yp-gFLvG(`&Sz0tIDKiI;I(r6-LZH*Cr3$@C%%Ian"
    "%{sZTFf$EtIwl2)Kw|JrvBuEU*4$z;>Ls;V8OgDyPNgB^QAxN0u27{l8kBN{v@tt9CGqU(lNcm20hxThfF_h_bxIMpmXMA~M8!r&qZ1G)Br-Lf"
    "P)1?`w7SCF3=9f^ii<vpMxl@hL=q-+WeC~XxtSSBC=>!28+G!;u`pO<3^L_>K@FV^G3msMrA39g`Pn)DK6X4J@)Q!CRaR3~QdC-9TU}a^o0XMC"
    "ICeY?7Ihkd%PlS`DJicgD=R9^&m&|Kvcisshet#wq~#ZvS5#C~R#uc17v^N+)3g5-78VXajmj!1FRGBMB*gOa(xUu~&^<kV>;x<_HuXY5rT5hz"
    "fBy9$NG>ZWz-Odqgf!q$@wo+J*WUX-{`m9L#}|sy!YmvP`=#7dDfuM19-RK|_kB62-q4ojVzIbmurT;ngm(Ar)XMD9$F;T1&FOX3*J&6uEId3q"
    "UmLVkD%E$6-t5}B`ry{%hV$rTSU4<q@ap<9UG&Z4qYpdH_`8D-4pvH%62o8-^zIv5k2W7Y`{nS%%k8UozkhPL<x54vV3E|0jji1uo*%tFc>DI%"
    ";nCrX=UdJ~WEeamvw!2kci->tzkKn_(d)ObUOj)dIe|xnM?^+fTn*ieA9hz??rgt)d3d=0bfX1@fWadpkb!IW9&Fxh8g0J)_~78#<L%KD6e0``"
    "i;5Zc&jo|4-pSe9yAK|1-@PYGM8v~kaQJEYc<7sAX>09YxOrt|dE<IXVq6?NBoa|LG3oY=+4_4d&b8p`nl~{aE-o}GSkzgo*B@L7%q*<lSYKOP"
    "rY0lf<HADk5fxJ~IqjQuIXp|N%U3R0(22;n`0(&>c+}ZgmfbxQSX!K4S_q70B%=_qu_wa9BTmJjvNVHZPWO~&);&N-NkGNL$A1AQW0LY38T!5<"
    "hutb?WTKPfLv|t@78!Xqp{S8WBsY@D4W!1*lw?#${J*G)KC1"
)


def images(size: int) -> NDArray[np.float32]:
    """The pictures as a model takes them, float32 [4,3,size,size] in 0..255: enlarged linearly, the same everywhere."""
    small = np.frombuffer(zlib.decompress(base64.b85decode("".join(_FACES))), np.uint8).reshape(-1, _SIDE, _SIDE)
    places = np.linspace(0, _SIDE - 1, size)
    first = np.minimum(places.astype(np.int64), _SIDE - 2)
    share = places - first
    grey = small.astype(np.float64)
    grey = grey[:, first] * (1 - share)[:, None] + grey[:, first + 1] * share[:, None]
    grey = grey[:, :, first] * (1 - share) + grey[:, :, first + 1] * share
    return np.repeat(np.rint(grey).astype(np.float32)[:, None], 3, axis=1)


def record(run: Callable[[NDArray[np.float32]], NDArray[np.float32]], size: int) -> dict[str, Any]:
    """What a manifest keeps: the logits [4,classes] that an open session gives here, of which pictures, and how near
    others have to come, in dB."""
    pictures = images(size)
    logits = run(pictures)
    places = np.indices(pictures.shape)
    levels = (3 * places[0] + 7 * places[1] + 13 * places[2] + 29 * places[3]) % 3 - 1  # -1, 0, 1
    others = run(np.clip(pictures + levels, 0, 255).astype(np.float32))
    return {
        "pictures": _digest(pictures),
        "logits": [[float(value) for value in row] for row in logits],
        "needed_db": round(min(metrics.sqnr_db(logits, others) - _SLACK_DB, MOST_DB), 1),
    }


def check(
    artifact: Artifact,
    kept: Mapping[str, Any],
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    version: str,
    own_version: str = "",
) -> None:
    """Raise TargetUnavailable where a session's `run` answers the pictures otherwise than the manifest `kept`, and
    ArtifactError where what it kept is damaged.

    A second time for the same file, processor, engine `version` and version of our own kernels nothing is done, as long
    as there is a cache to remember it in.
    """
    passed = _memory(artifact, version, own_version)
    if passed is not None and passed.is_file():
        return
    pictures = images(artifact.input_spec.size)
    try:
        if kept["pictures"] != _digest(pictures):  # of another version of this module
            return
        wanted, needed_db = np.asarray(kept["logits"], np.float32), float(kept["needed_db"])
        if (
            wanted.shape != (len(pictures), len(artifact.input_spec.labels))
            or not np.isfinite([needed_db, *wanted.flat]).all()
        ):
            raise ValueError(f"logits {wanted.tolist()}, needed_db {needed_db}")
    except MALFORMED as error:
        raise ArtifactError(
            f"{artifact.manifest_path} holds a damaged self_test ({type(error).__name__}: {error}). Expected what "
            "lc2fer-export writes. Copy the manifest again, or export the model again."
        ) from None
    found = np.concatenate([run(picture[np.newaxis]) for picture in pictures])  # a batch may open the model once more
    sqnr_db = metrics.sqnr_db(wanted, found) if np.isfinite(found).all() else 0.0
    if sqnr_db < needed_db:
        raise TargetUnavailable(
            f"{artifact.path.name} computes other numbers here than where it was proven: {sqnr_db:.1f} dB on its own "
            f"test pictures, {needed_db:g} were expected. {_mend(artifact, version)}"
        )
    if passed is not None:
        _remember(passed)


def _mend(artifact: Artifact, version: str) -> str:
    """What is the likely cause, and what to do."""
    kind = KINDS[artifact.kind]
    then = artifact.tools.get(kind.package, version)
    if then != version:
        return (
            f"It was proven with {kind.package} {then}, and {version} runs it here. Install that version, or export "
            f"{kind.in_float}."
        )
    return (
        f"{processor.name()} may lack 8-bit products that do not overflow (on x86: VNNI). Export {kind.in_float}, or a "
        "target that ends in -int8-fused, whose sums are exact everywhere."
    )


def _memory(artifact: Artifact, *versions: str) -> Path | None:
    """The file whose being there says that this was checked."""
    caps = {name: os.environ[name] for name in _CAPS if name in os.environ}
    known = [artifact.sha256, *versions, processor.name(), sorted(processor.features()), caps]
    try:
        folder = cache_folder()
    except UsageError:  # nobody's home
        return None
    return folder / "checked" / hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


def _remember(passed: Path) -> None:
    try:
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()
    except OSError:  # checked again next time
        return


def _digest(pictures: NDArray[np.float32]) -> str:
    return hashlib.sha256(pictures.astype(np.uint8).tobytes()).hexdigest()[:16]
