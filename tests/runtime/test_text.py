import io

from rich.console import Console

from spikeport.runtime.report.text import make_table, steps_to_show


def render(width: int, *rows: list[str]) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(make_table(["node", "becomes", "rate"], rows))
    return console.file.getvalue()


def test_names_are_no_markup():
    shown = render(80, ["net[/fc]", "blocks[bold]/fc", "0.1"])
    assert "net[/fc]" in shown
    assert "blocks[bold]/fc" in shown


def test_narrow_terminals_lose_nothing():
    name, text = "a_very_long_name_of_a_node_in_a_network", "what it becomes in many words " * 3
    shown = render(50, [name, text.strip(), "0.1234"])
    letters = "".join(shown.split())
    assert "0.1234" in shown
    for part in ("a_very", "words"):
        assert part in letters
    assert shown.count("words") == 3


def test_steps_are_powers_of_two_and_the_last():
    assert steps_to_show(1) == [1]
    assert steps_to_show(64) == [1, 2, 4, 8, 16, 32, 64]
    assert steps_to_show(20) == [1, 2, 4, 8, 16, 20]
