"""Boot sectors in assembly, and the hardware they run on."""

from __future__ import annotations

from pathlib import Path

from engines.boot.accel import Accelerator
from engines.boot.media import Disk, Hardware

ROOT = Path(__file__).parents[3]
TCG = Accelerator("tcg", "the tests' choice")
HEAD = """
    bits 16
    org 7C00h
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 7C00h
    sti
    cld
"""
SHOW_KEYS = """
next: xor ah, ah
    int 16h
    cmp al, 13
    jne show
    mov ax, 0E0Ah
    int 10h
    mov al, 13
show: mov ah, 0Eh
    xor bx, bx
    int 10h
    jmp next
"""
SCROLLED = """
    mov ax, 3
    int 10h
    mov ax, 0B800h
    mov es, ax
    mov byte [es:0], 'T'            ; the top of the window, not shown
    mov byte [es:8000h - 2], 'Z'    ; the last cell of the window, the first that is shown
    mov dx, 3D4h
    mov ax, 3F0Ch
    out dx, ax
    mov ax, 0FF0Dh
    out dx, ax
    mov al, 0Ah                     ; the index that the guest had chosen
    out dx, al
rest: hlt
    jmp rest
"""
GRAPHICS = """
    mov ax, 13h
    int 10h
rest: hlt
    jmp rest
"""
RESET = "    jmp 0FFFFh:0\n"
RESET_ON_KEY = "    mov ax, 0E21h\n    xor bx, bx\n    int 10h\n    xor ah, ah\n    int 16h\n" + RESET
WRITES = """
    mov ax, 0301h                   ; its own first sector, over the second
    mov cx, 2
    mov dx, 80h
    mov bx, 7C00h
    int 13h
    mov al, 7
    jnc done
    mov al, 1
done: out 0F4h, al
rest: hlt
    jmp rest
"""
SERIAL = """
    mov si, text
next: lodsb
    test al, al
    jz rest
    mov dx, 3F8h
    out dx, al
    jmp next
rest: hlt
    jmp rest
text: db 27, '[2J', 27, '[1;31mred', 27, '[0m alert', 7, 27, '[5;1Hplaced', 13, 10, 0
"""


def hardware(image: Path, **more: object) -> Hardware:
    return Hardware((Disk(image),), debug_exit=True, **more)  # type: ignore[arg-type]  # fields passed by name
