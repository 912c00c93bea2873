"""libvirt's test driver: domains from a file, of which nothing runs in truth."""

from __future__ import annotations

from pathlib import Path

RUNNING, OFF = 1, 5  # virDomainState
RAW = "<disk type='file' device='disk'><driver type='raw'/><source file='{path}'/><target dev='{dev}'/></disk>"


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def domain(number: int, name: str, devices: str = "", *, state: int = OFF, metadata: str = "", more: str = "") -> str:
    """One domain; devices in libvirt's XML, metadata like `policy='gold'`."""
    ours = f"<metadata><b:backup xmlns:b='urn:crashcart:1' {metadata}/></metadata>" if metadata else ""
    return (
        (
            f"<domain type='test' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
            f" xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>{name}</name><uuid>{uuid(number)}</uuid>{ours}"
            f"<memory>1024</memory><os><type>hvm</type></os><devices>{devices}</devices>{more}"
            f"<test:domainstate><test:runstate>{state}</test:runstate></test:domainstate></domain>"
        )
        .replace("<test:domainstate>", "")
        .replace("</test:domainstate>", "")
    )


def raw(path: Path | str, dev: str = "vda") -> str:
    return RAW.format(path=path, dev=dev)


def node(path: Path, *domains: str) -> str:
    """The URI of a host with those domains."""
    path.write_text(f"<node><cpu/>{''.join(domains)}</node>")
    return f"test://{path}"
