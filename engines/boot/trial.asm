; The accelerator's trial: one boot sector that enters long mode, works there for a while, and says so.
; Real mode alone proves too little: a software KVM emulates it and then hangs at the first 64-bit kernel.
; On success it writes 2Ah to the isa-debug-exit port, which ends QEMU with status (2Ah << 1) | 1 = 85.
        bits 16
        org 7C00h
start:  jmp 0:.here
.here:  cli
        cld
        xor ax, ax
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov sp, 7C00h
        in al, 92h                      ; fast A20
        or al, 2
        out 92h, al
        mov di, 1000h                   ; PML4 1000h, PDPT 2000h, PD 3000h: the first 2 MiB, mapped onto themselves
        mov cx, 3 * 1024
        xor eax, eax
        rep stosd
        mov dword [1000h], 2003h
        mov dword [2000h], 3003h
        mov dword [3000h], 83h
        mov eax, 1000h
        mov cr3, eax
        mov eax, cr4
        or eax, 20h                     ; PAE
        mov cr4, eax
        mov ecx, 0C0000080h             ; EFER.LME
        rdmsr
        or eax, 100h
        wrmsr
        lgdt [gdtr]
        mov eax, cr0
        or eax, 80000001h               ; PG and PE
        mov cr0, eax
        jmp 8:wide
        bits 64
wide:   mov ecx, 100000000            ; a processor does this in 50 ms, an instruction emulator in a minute or two
.work:  dec ecx
        jnz .work
        xor eax, eax
        cpuid
        mov al, 2Ah
        out 0F4h, al
.rest:  hlt
        jmp .rest
        align 8
gdt:    dq 0
        dq 00209A0000000000h
gdtr:   dw $ - gdt - 1
        dd gdt
        times 510 - ($ - $$) db 0
        dw 0AA55h
