; A KERNEL.SYS that is none: it says on COM1 and on the screen that it was loaded, from which drive, and halts.
; chain.c32 freedos= loads it to 0060:0000 with the drive in BL. Assemble: nasm -f bin -o KERNEL.SYS kernel.asm
        bits 16
        org 0
        jmp short start
        nop
        times 64 - ($ - $$) db 0
start:  mov ax, cs
        mov ds, ax
        cld
        mov al, bl
        mov di, digits
        call hex
        mov si, text
.next:  lodsb
        test al, al
        jz .halt
        mov ah, 0Eh
        xor bx, bx
        push ax
        int 10h
        pop ax
        mov dx, 3F8h
        out dx, al
        jmp .next
.halt:  hlt
        jmp .halt
hex:    mov ah, al
        shr al, 4
        call .one
        mov al, ah
        and al, 15
.one:   cmp al, 10
        sbb al, 69h
        das
        mov [di], al
        inc di
        ret
text    db 'STUB KERNEL drive='
digits  db '00', 13, 10, 0
        times 4096 - ($ - $$) db 0
