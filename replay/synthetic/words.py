"""What the synthetic shop sells: its categories with their usual prices and companions, and the words of its titles."""

from __future__ import annotations

from typing import Final, NamedTuple


class Leaf(NamedTuple):
    """One category. `price` is the usual one; items of `companion` (another leaf's slug) are bought with its items."""

    path: str
    noun: str
    price: float
    companion: str
    min_age: int = 0

    @property
    def slug(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def department(self) -> str:
        return self.path.partition("/")[0]


# department/group, and under it leaf: noun, price, companion[, minimum age]
_TREE: Final = """
outdoor/camping
  tents: tent, 220, sleeping-bags
  sleeping-bags: sleeping bag, 110, sleeping-mats
  sleeping-mats: sleeping mat, 60, tents
  stoves: camping stove, 70, cookware
  cookware: cooking pot set, 45, stoves
  lanterns: lantern, 30, tents
outdoor/hiking
  hiking-boots: hiking boot, 150, hiking-socks
  hiking-socks: hiking sock, 16, hiking-boots
  backpacks: backpack, 120, water-bottles
  water-bottles: water bottle, 22, backpacks
  trekking-poles: trekking pole, 70, backpacks
  rain-jackets: rain jacket, 160, hiking-boots
outdoor/climbing
  climbing-shoes: climbing shoe, 120, chalk-bags
  chalk-bags: chalk bag, 25, climbing-shoes
  harnesses: climbing harness, 75, carabiners
  carabiners: carabiner, 14, ropes
  ropes: climbing rope, 160, harnesses
sport/running
  running-shoes: running shoe, 130, running-socks
  running-socks: running sock, 14, running-shoes
  running-shirts: running shirt, 35, running-shorts
  running-shorts: running short, 38, running-shirts
  sport-watches: sport watch, 240, running-shoes
  headlamps: headlamp, 45, running-shoes
sport/cycling
  bike-helmets: bike helmet, 85, bike-lights
  bike-lights: bike light, 40, bike-locks
  bike-locks: bike lock, 55, bike-helmets
  cycling-jerseys: cycling jersey, 65, cycling-shorts
  cycling-shorts: cycling short, 75, cycling-jerseys
  bike-pumps: bike pump, 35, bike-tools
  bike-tools: bike multitool, 28, bike-pumps
sport/fitness
  yoga-mats: yoga mat, 40, yoga-blocks
  yoga-blocks: yoga block, 15, yoga-mats
  dumbbells: dumbbell, 55, kettlebells
  kettlebells: kettlebell, 50, dumbbells
  resistance-bands: resistance band, 18, yoga-mats
home/kitchen
  coffee-machines: coffee machine, 320, coffee-grinders
  coffee-grinders: coffee grinder, 110, coffee-beans
  coffee-beans: bag of coffee beans, 14, coffee-cups
  coffee-cups: coffee cup, 12, coffee-beans
  frying-pans: frying pan, 55, kitchen-knives
  kitchen-knives: kitchen knife, 70, cutting-boards, 18
  cutting-boards: cutting board, 30, kitchen-knives
home/bedroom
  duvets: duvet, 120, duvet-covers
  duvet-covers: duvet cover, 60, pillows
  pillows: pillow, 45, duvets
  bed-sheets: bed sheet, 40, pillows
  bedside-lamps: bedside lamp, 50, bed-sheets
home/living
  sofas: sofa, 900, cushions
  cushions: cushion, 25, blankets
  blankets: blanket, 45, cushions
  floor-lamps: floor lamp, 120, sofas
  rugs: rug, 180, sofas
  candles: candle, 16, candle-holders
  candle-holders: candle holder, 22, candles
home/garden
  garden-chairs: garden chair, 80, garden-tables
  garden-tables: garden table, 190, garden-chairs
  plant-pots: plant pot, 25, seeds
  seeds: packet of seeds, 4, plant-pots
  pruners: pruner, 32, gardening-gloves
  gardening-gloves: gardening glove, 14, pruners
electronics/audio
  headphones: headphone, 180, headphone-cases
  headphone-cases: headphone case, 25, headphones
  earbuds: earbud, 110, headphone-cases
  speakers: wireless speaker, 140, headphones
  turntables: turntable, 260, vinyl-cleaners
  vinyl-cleaners: vinyl cleaner, 22, turntables
electronics/computing
  laptops: laptop, 1100, laptop-sleeves
  laptop-sleeves: laptop sleeve, 35, laptops
  keyboards: keyboard, 95, mice
  mice: computer mouse, 50, keyboards
  monitors: monitor, 320, monitor-arms
  monitor-arms: monitor arm, 90, monitors
  usb-hubs: usb hub, 40, laptops
electronics/photo
  cameras: camera, 850, lenses
  lenses: camera lens, 480, cameras
  tripods: tripod, 110, cameras
  memory-cards: memory card, 32, cameras
  camera-bags: camera bag, 75, lenses
fashion/women
  dresses: dress, 75, handbags
  handbags: handbag, 130, scarves
  scarves: scarf, 35, coats
  coats: coat, 210, scarves
  ankle-boots: ankle boot, 120, handbags
  knitwear: cardigan, 70, dresses
fashion/men
  shirts: shirt, 55, chinos
  chinos: chino, 70, belts
  belts: belt, 40, chinos
  blazers: blazer, 180, shirts
  sneakers: sneaker, 95, chinos
  wallets: wallet, 45, belts
fashion/kids
  kids-jackets: kids jacket, 60, kids-boots
  kids-boots: kids boot, 45, kids-jackets
  school-bags: school bag, 65, pencil-cases
  pencil-cases: pencil case, 15, school-bags
toys/games
  board-games: board game, 35, card-games
  card-games: card game, 15, board-games
  puzzles: puzzle, 20, board-games
  chess-sets: chess set, 50, board-games
toys/building
  building-blocks: building block set, 45, play-mats
  play-mats: play mat, 30, building-blocks
  model-kits: model kit, 40, model-paints
  model-paints: model paint set, 18, model-kits
food/pantry
  olive-oils: olive oil, 14, pastas
  pastas: pack of pasta, 4, olive-oils
  chocolates: chocolate bar, 5, teas
  teas: tin of tea, 11, chocolates
  spices: spice jar, 6, olive-oils
food/cellar
  red-wines: red wine, 16, wine-glasses, 18
  white-wines: white wine, 13, wine-glasses, 18
  gins: gin, 34, tonics, 18
  tonics: bottle of tonic, 3, gins
  wine-glasses: wine glass, 12, red-wines
beauty/care
  shampoos: shampoo, 11, conditioners
  conditioners: conditioner, 12, shampoos
  face-creams: face cream, 28, sun-creams
  sun-creams: sun cream, 18, face-creams
  perfumes: perfume, 75, body-lotions
  body-lotions: body lotion, 15, perfumes
"""


def _leaves() -> tuple[Leaf, ...]:
    found, group = [], ""
    for line in _TREE.strip().splitlines():
        slug, colon, rest = line.strip().partition(": ")
        if not colon:
            group = slug
            continue
        noun, price, companion, *min_age = rest.split(", ")
        found.append(Leaf(f"{group}/{slug}", noun, float(price), companion, int(min_age[0]) if min_age else 0))
    return tuple(found)


LEAVES: Final = _leaves()

_BRANDS = """
Alderon Birkvall Corvane Dunmere Elvika Fjordal Grenhaus Halvorsen Isolde Juniper Kestrel Lumera Marlow Nordane
Ostrava Pinecrest Quillon Rivermark Solenne Tamarack Ulmo Verdano Wrenfield Xandel Yarrow Zephyra Ambrel Brightwell
Calder Deltora Emberly Foxglove Garnet Hollin Inverley Jasmund Kalden Larkspur Mistral Northgate
"""
BRANDS: Final = tuple(_BRANDS.split())
SUPPLIERS: Final = tuple(
    f"{name} {kind}"
    for name in ("Atlas", "Beacon", "Crown", "Delta", "Eastway", "Fulcrum")
    for kind in ("Trading", "Supply", "Imports")
)
_LINES = """
Aspen Basin Cedar Drift Echo Flint Grove Harbor Iris Jade Keystone Linden Meadow North Onyx Prairie Quartz Ridge
Summit Terra Umber Vale Willow Zenith Arc Bolt Crest Dune Ember Fern Glade Haven
"""
LINES: Final = tuple(_LINES.split())
COLOURS: Final = ("black", "white", "navy", "sage", "rust", "sand", "teal", "plum", "mustard", "coral", "ivory")
REGIONS: Final = ("de", "es", "fr", "it", "nl", "se")
DEVICES: Final = ("mobile", "desktop", "tablet")
BANDS: Final = ("essential", "", "premium")
"""Words for the price bands, cheapest first."""

STYLES: Final = 6
"""Tastes that items are made for and shoppers have. Their words stand in titles and descriptions, below."""

_GEAR: Final = (
    ("ultralight", "compact", "packable"),
    ("classic", "handmade", "heritage"),
    ("recycled", "organic", "repairable"),
    ("rugged", "sturdy", "heavy-duty"),
    ("minimal", "slim", "modular"),
    ("playful", "colourful", "family"),
)
_TASTES: Final = (
    ("light", "delicate", "fresh"),
    ("classic", "traditional", "heritage"),
    ("organic", "wild", "natural"),
    ("intense", "robust", "strong"),
    ("pure", "simple", "clear"),
    ("fruity", "sweet", "sunny"),
)
ADJECTIVES: Final = {"food": _TASTES, "beauty": _TASTES}
"""By department, three words for each style; every other department has `GEAR_ADJECTIVES`."""
GEAR_ADJECTIVES: Final = _GEAR

MATERIALS: Final = {
    "outdoor": ("titanium", "waxed canvas", "hemp", "steel", "ripstop", "fleece"),
    "sport": ("carbon", "leather", "cork", "rubber", "mesh", "foam"),
    "home": ("birch", "oak", "bamboo", "cast iron", "glass", "cotton"),
    "electronics": ("magnesium", "walnut", "recycled plastic", "steel", "aluminium", "silicone"),
    "fashion": ("silk", "wool", "linen", "denim", "jersey", "corduroy"),
    "toys": ("paper", "beech", "bamboo", "tin", "acrylic", "felt"),
    "food": ("lemon", "oak", "herbs", "pepper", "sea salt", "honey"),
    "beauty": ("aloe", "rosewood", "oat", "charcoal", "glycerin", "citrus"),
}
"""By department, one for each style."""

USES: Final = (
    ("long distances", "quick trips"),
    ("slow weekends", "special days"),
    ("a smaller footprint", "everyday care"),
    ("rough weather", "hard work"),
    ("small spaces", "quiet mornings"),
    ("shared afternoons", "good company"),
)
"""What each style is made for."""
