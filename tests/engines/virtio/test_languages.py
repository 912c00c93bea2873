"""Consoles in other languages and colours: a guest that stops, or lost something, is known by them, too."""

from __future__ import annotations

import pytest

from engines.boot.console import spoken
from engines.boot.dead_ends import DOWN
from engines.virtio import complaints, trial

LOST = """\
Starte mysqld:  [FEHLGESCHLAGEN]
Démarrage de mysqld : [ÉCHOUÉ]
Iniciando mysqld:  [FALLÓ]
Avvio di mysqld: [FALLITO]
Iniciando mysqld: [  FALHOU  ]
Запуск mysqld: [СБОЙ ]
mysqld を起動中: [失敗]
正在启动 mysqld：[失败]
mysqld starten: [MISLUKT]
mount: Spezialgerät /dev/sda5 existiert nicht
mount : périphérique spécial /dev/sda5 n'existe pas
mount: el dispositivo especial /dev/sda5 no existe
mount: специальное устройство /dev/sda5 не существует
mount: スペシャルデバイス /dev/sda5 が存在しません
mount: /data: LABEL=x kann nicht gefunden werden.
swapon: échec de stat de /dev/sda2: Aucun fichier ou dossier de ce type
"""
OK = """\
Starte mysqld:  [  OK  ]
Démarrage de mysqld : [  OK  ]
Запуск mysqld: [ ОК ]
Starte mysqld: [WARNUNG]
Lokale Dateisysteme werden eingehängt:  [  OK  ]
mount: /data eingehängt von /dev/sda5
Aktiviere Swap auf /dev/sda2
"""


LATIN = [line.encode("latin-1") for line in LOST.splitlines() if line.isascii() or max(line) < "\u0100"]


@pytest.mark.parametrize("line", [*LATIN, *(line.encode() for line in LOST.splitlines())])
def test_a_loss_is_heard_in_the_guests_language(line: bytes) -> None:
    found = complaints.said(spoken(b"a\n" + line + b"\nb\n"))
    assert len(found) == 1
    assert complaints.anew(found, complaints.said(spoken(line.replace(b"sda", b"vda")))) == []


@pytest.mark.parametrize("line", OK.splitlines())
def test_what_goes_well_is_no_loss_in_any(line: str) -> None:
    assert complaints.said(spoken(f"{line}\n".encode())) == []


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"Starting mysqld: \x1b[60G[\x1b[0;31mFAILED\x1b[0;39m]\r\n", "Starting mysqld: [FAILED]"),
        (b" * Mounting /data ...\x1b[A\x1b[72C\x1b[34;01m[ \x1b[31;01m!!\x1b[34;01m ]\x1b[0m\r\n", "[ !! ]"),
        (b"[\x1b[31mFAIL\x1b[39;49m] Starting x: mysqld\x1b[31mfailed!\x1b[39;49m\r\n", "[FAIL] Starting x: mysqld"),
        (b"[\x1b[0;1;38;5;185mDEPEND\x1b[0m] Dependency failed for \x1b[0;1;39mdata.mount\x1b[0m - /data.\r\n",
         "[DEPEND] Dependency failed for data.mount - /data."),
        (b" \x1b[31;01m*\x1b[0m ERROR: net.eth0 failed to start\r\n", "* ERROR: net.eth0 failed to start"),
    ],
)  # fmt: skip
def test_a_status_is_read_through_its_colours(said: bytes, told: str) -> None:
    (found,) = complaints.said(spoken(said))
    assert told in found


@pytest.mark.parametrize(
    "said",
    [
        "Geben Sie das Root-Passwort für die Wartung ein",
        "(oder Strg-D drücken, um fortzufahren): ",
        "Donnez le mot de passe du superutilisateur pour la maintenance",
        "(ou appuyez sur Contrôle-D pour continuer) : ",
        "Introduzca la contraseña de root para mantenimiento",
        "(o pulse Control-D para continuar): ",
        "Введите пароль root для обслуживания",
        "(или нажмите Control-D для продолжения): ",
        "(Dateisystem reparieren) 1 # ",
        "(修復檔案系統) 1 # ",
        "Fornire la password di root per la manutenzione",
        "Digite a senha do root para manutenção",
        "\x1b[1mYou are in \x1b[0;1memergency mode\x1b[0m. After logging in",
        "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39memergency.target\x1b[0m.",
        "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39memergency.service\x1b[0m.",
    ],
)
def test_a_guest_that_stops_is_down_in_any(said: str) -> None:
    text = spoken(said.encode())
    assert DOWN.search(text)
    assert not trial.UP.search(text)


@pytest.mark.parametrize(
    "said",
    [
        "[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mmulti-user.target\x1b[0m.",
        "[\x1b[32m  OK  \x1b[0m] Reached target \x1b[0;1;39mgraphical.target\x1b[0m - Graphical Interface.",
        "[  OK  ] Started \x1b[0;1;39mserial-getty@ttyS0.service\x1b[0m.",
        "\x1b[1;32mweb1\x1b[0m login: ",
        "Cambie su contraseña: servidor en mantenimiento el lunes\nweb1 login: ",
        "Schimbați mot de passe; fermé pour la maintenance\nweb1 login: ",
        "login: \n(web1) 12 # ",
        "(eth0) 2 # of 3 cards\n\x1b[1mweb1\x1b[0m login:\x1b[0m ",
    ],
)
def test_a_guest_that_is_up_is_up_in_any_colour(said: str) -> None:
    text = spoken(said.encode())
    assert trial.UP.search(text)
    assert not DOWN.search(text)
