import { html, type Html } from '../html.ts';

/**
 * A small picture of a product, drawn from its name and sku alone, always the same: the last word of the name that we have a motif for (the head of an English noun
 * phrase comes last), in the colour that the name tells or the sku decides. Without a motif it is a pattern.
 *
 * The colours are classes, so that the stylesheet can change them with the scheme: g ground, a main, b dark, c light, f accent, s a line.
 */
export interface Motif {
  /** Singular; finds most of them in a search. */
  readonly word: string;
  readonly title: string;
  readonly drawing: Html;
  /** Where the name tells no colour. */
  readonly palette?: Palette;
}

export function illustration(sku: string, name: string, motif: Motif | undefined = motifOf(name)): Html {
  const hash = hashOf(sku);
  const palette = paletteOf(name) ?? motif?.palette ?? palettes[hash % palettes.length]!;
  return html`<svg class="art p-${palette}" viewBox="0 0 120 120" aria-hidden="true" focusable="false"><rect class="g" width="120" height="120"/>${motif ? motif.drawing : pattern(hash)}</svg>`;
}

/** The motif of a name, if it has one. What is only an ornament (a bag with hearts) counts when there is nothing else. */
export function motifOf(name: string): Motif | undefined {
  let ornament: Motif | undefined;
  const words = name.toLowerCase().match(/\p{L}+(?:-\p{L}+)?/gu) ?? [];
  for (let i = words.length - 1; i >= 0; i--) {
    const word = words[i]!;
    const found = vocabulary.get(word) ?? vocabulary.get(word.replace(/s$/, '')) ?? vocabulary.get(word.replace(/es$/, ''));
    if (found && !found.ornament) return found.motif;
    ornament = found?.motif ?? ornament;
  }
  return ornament;
}

// ---------------------------------------------------------------- colours

const palettes = ['rose', 'sky', 'leaf', 'sun', 'plum', 'clay', 'teal', 'stone'] as const;
type Palette = (typeof palettes)[number] | 'ink';
const colours: Readonly<Record<string, Palette>> = {
  red: 'rose', pink: 'rose', rose: 'rose', roses: 'rose', strawberry: 'rose', cherry: 'rose', blue: 'sky', navy: 'sky', sky: 'sky', green: 'leaf', apple: 'leaf', apples: 'leaf',
  leaf: 'leaf', woodland: 'leaf', yellow: 'sun', gold: 'sun', golden: 'sun', lemon: 'sun', purple: 'plum', lilac: 'plum', lavender: 'plum', violet: 'plum', black: 'ink', orange: 'clay',
  copper: 'clay', wicker: 'clay', wooden: 'clay', wood: 'clay', terracotta: 'clay', turquoise: 'teal', mint: 'teal', aqua: 'teal', white: 'stone', ivory: 'stone', cream: 'stone',
  silver: 'stone', grey: 'stone', slate: 'ink', skull: 'ink', zinc: 'stone',
};

function paletteOf(name: string): Palette | undefined {
  for (const word of name.toLowerCase().match(/[a-z]+/g) ?? []) if (Object.hasOwn(colours, word)) return colours[word];
  return undefined;
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** Nine tiles of quarter circles, turned and coloured by the bits of a number. */
function pattern(hash: number): Html {
  const tiles = Array.from({ length: 9 }, (_, i) => {
    const bits = (hash >>> (i * 3)) ^ (hash >>> (i + 5));
    const [x, y] = [21 + (i % 3) * 26, 21 + Math.floor(i / 3) * 26];
    const quarter = ['M0 0h26a26 26 0 0 1-26 26z', 'M26 0v26A26 26 0 0 1 0 0z', 'M26 26H0A26 26 0 0 1 26 0z', 'M0 26V0a26 26 0 0 1 26 26z'][bits & 3]!;
    return html`<path class="${['a', 'b', 'c', 'a', 'f'][(bits >>> 2) % 5]!}" d="${quarter}" transform="translate(${x} ${y})"/>`;
  });
  return html`${tiles}`;
}

// ---------------------------------------------------------------- motifs

const shade = html`<ellipse class="h" cx="60" cy="97" rx="33" ry="3.5"/>`;
const flame = html`<path class="f" d="M60 30c7 8 7 15 0 17-7-2-7-9 0-17z"/>`;

interface Entry {
  readonly motif: Motif;
  readonly ornament: boolean;
}
const vocabulary = new Map<string, Entry>();

/** The first word is the one to search for. Plurals in -s and -es need not be named. */
function motif(title: string, words: string, drawing: Html, ornament = false, palette?: Palette): void {
  const all = words.split(' ');
  const entry = { motif: { word: all[0]!, title, drawing, ...(palette ? { palette } : {}) }, ornament };
  for (const word of all) vocabulary.set(word, entry);
}

motif('Mugs and cups', 'cup mug teacup beaker', html`${shade}<path class="s" d="M82 56h6a11 11 0 0 1 0 23h-8"/><path class="a" d="M34 46h50v34a16 16 0 0 1-16 16H50a16 16 0 0 1-16-16z"/><path class="c" d="M34 57h50v9H34z"/><path class="s" d="M50 37c-4-6 4-8 0-14M66 37c-4-6 4-8 0-14"/>`);
motif('Teapots', 'teapot tea kettle', html`${shade}<path class="s" d="M38 74c-14 0-10-18-20-20M86 60c18-6 18 26-2 24"/><ellipse class="a" cx="60" cy="72" rx="30" ry="25"/><path class="c" d="M31 66h58a30 26 0 0 1 .5 10h-59a30 26 0 0 1 .5-10z"/><path class="b" d="M43 50a17 9 0 0 1 34 0z"/><circle class="f" cx="60" cy="38" r="4.5"/>`);
motif('Lanterns', 'lantern', html`${shade}<circle class="s" cx="60" cy="24" r="7"/><path class="b" d="M42 46l8-14h20l8 14z"/><rect class="c" x="42" y="46" width="36" height="42"/><path class="f" d="M60 53c6 7 6 12 0 14-6-2-6-7 0-14z"/><rect class="a" x="54" y="68" width="12" height="20"/><path class="s" d="M42 46v42M78 46v42"/><rect class="b" x="37" y="87" width="46" height="9" rx="2"/>`);
motif('Candles and t-lights', 't-light candle tealight candlestick candleholder incense', html`${shade}${flame}<path class="s" d="M60 47v8"/><rect class="a" x="42" y="55" width="36" height="41" rx="5"/><path class="c" d="M42 60a5 5 0 0 1 5-5h26a5 5 0 0 1 5 5c0 8-4 6-5 2s-5-3-5 3v6c0 5-6 5-6 0v-5c0-5-6-5-7 0s-7 4-7-1-6-2-6-5z"/>`);
motif('Lights', 'light lamp led lightbulb torch lampshade', html`<path class="s" d="M10 34q50 40 100 0"/><path class="s" d="M27 45v9M49 53v9M71 53v9M93 45v9"/><path class="f" d="M27 52c9 8 9 21 0 22-9-1-9-14 0-22z"/><path class="a" d="M49 60c9 8 9 21 0 22-9-1-9-14 0-22z"/><path class="f" d="M71 60c9 8 9 21 0 22-9-1-9-14 0-22z"/><path class="a" d="M93 52c9 8 9 21 0 22-9-1-9-14 0-22z"/>`);
motif('Bags', 'bag shopper tote handbag rucksack backpack satchel', html`${shade}<path class="s" d="M45 52V40a15 15 0 0 1 30 0v12"/><path class="a" d="M31 48h58l7 48H24z"/><g class="c"><circle cx="44" cy="62" r="4"/><circle cx="60" cy="62" r="4"/><circle cx="76" cy="62" r="4"/><circle cx="52" cy="74" r="4"/><circle cx="68" cy="74" r="4"/><circle cx="40" cy="86" r="4"/><circle cx="60" cy="86" r="4"/><circle cx="80" cy="86" r="4"/></g>`);
motif('Purses', 'purse wallet pouch', html`${shade}<path class="a" d="M34 52h52c10 14 12 44-8 44H42c-20 0-18-30-8-44z"/><path class="b" d="M32 44h56v10H32z"/><circle class="f" cx="54" cy="40" r="5"/><circle class="f" cx="66" cy="40" r="5"/><path class="s" d="M38 70q22 12 44 0"/>`);
motif('Boxes', 'box trunk crate case chest', html`${shade}<rect class="a" x="28" y="54" width="64" height="42" rx="4"/><rect class="b" x="24" y="40" width="72" height="17" rx="4"/><rect class="c" x="48" y="68" width="24" height="14" rx="3"/>`);
motif('Tins', 'tin canister caddy bin', html`${shade}<path class="a" d="M36 40h48v49c0 10-48 10-48 0z"/><path class="c" d="M36 57c10 6 38 6 48 0v20c-10 6-38 6-48 0z"/><ellipse class="b" cx="60" cy="40" rx="26" ry="8.5"/><ellipse class="a" cx="60" cy="37" rx="26" ry="8.5"/><circle class="b" cx="60" cy="34" r="4"/>`);
motif('Jars', 'jar pot jam marmalade', html`${shade}<path class="a" d="M41 44h38c7 6 8 10 8 16v26a10 10 0 0 1-10 10H43a10 10 0 0 1-10-10V60c0-6 1-10 8-16z"/><rect class="b" x="40" y="29" width="40" height="15" rx="4"/><rect class="c" x="41" y="61" width="38" height="22" rx="3"/><path class="s" d="M49 69h22M53 76h14"/>`);
motif('Bottles', 'bottle flask vase decanter jug', html`${shade}<path class="a" d="M52 26h16v16c0 7 14 10 14 24v22a8 8 0 0 1-8 8H46a8 8 0 0 1-8-8V66c0-14 14-17 14-24z"/><rect class="b" x="49" y="18" width="22" height="11" rx="3"/><path class="c" d="M38 66h44v18H38z"/>`);
motif('Clocks', 'clock watch timer', html`<path class="s" d="M42 92l-6 6M78 92l6 6"/><circle class="b" cx="39" cy="35" r="10"/><circle class="b" cx="81" cy="35" r="10"/><circle class="a" cx="60" cy="64" r="34"/><circle class="c" cx="60" cy="64" r="25"/><path class="s" d="M60 48v16l11 7"/><circle class="f" cx="60" cy="64" r="3.5"/>`);
motif('Bunting', 'bunting garland banner flag chain', html`<path class="s" d="M6 34q54 40 108 0"/><path class="a" d="M13 39l19 9-14 20z"/><path class="f" d="M36 50l20 4-13 22z"/><path class="b" d="M62 54l21-4-8 25z"/><path class="a" d="M87 48l20-10-4 28z"/>`);
motif('Frames', 'frame picture mirror photo print', html`<rect class="b" x="25" y="25" width="70" height="70" rx="4"/><rect class="c" x="34" y="34" width="52" height="52"/><circle class="f" cx="72" cy="49" r="7"/><path class="a" d="M34 86V76l18-20 14 16 8-8 12 14v8z"/>`);
motif('Signs', 'sign plaque blackboard chalkboard noticeboard tag', html`<path class="s" d="M38 46l22-22 22 22"/><circle class="b" cx="60" cy="24" r="4"/><rect class="a" x="21" y="45" width="78" height="45" rx="6"/><rect class="c" x="33" y="57" width="54" height="6" rx="3"/><rect class="c" x="42" y="71" width="36" height="6" rx="3"/>`);
motif('Cakes', 'cake cakestand cupcake fairy baking muffin doughnut biscuit cookie mould jelly', html`${shade}<path class="b" d="M37 66h46l-7 30H44z"/><path class="s" d="M52 72l3 18M68 72l-3 18"/><path class="a" d="M33 68c-7-10 1-18 9-18 2-16 34-16 36 0 8 0 16 8 9 18z"/><circle class="f" cx="60" cy="36" r="7"/><path class="c" d="M46 56h10a3 3 0 0 1 0 5H46a3 3 0 0 1 0-5z"/>`);
motif('Bowls', 'bowl dish basin', html`${shade}<path class="a" d="M22 56h76c0 22-14 36-28 36H50c-14 0-28-14-28-36z"/><path class="c" d="M25 68h70a40 40 0 0 1-4 9H29a40 40 0 0 1-4-9z"/><rect class="b" x="46" y="90" width="28" height="6" rx="3"/>`);
motif('Plates', 'plate saucer dinner tray platter place', html`<circle class="b" cx="60" cy="60" r="39"/><circle class="a" cx="60" cy="60" r="36"/><circle class="c" cx="60" cy="60" r="23"/><circle class="f" cx="60" cy="60" r="5"/>`);
motif('Cards', 'card postcard envelope letter stationery invitation sticker', html`<rect class="a" x="20" y="36" width="80" height="54" rx="5"/><path class="c" d="M20 42l40 30 40-30v-1a5 5 0 0 0-5-5H25a5 5 0 0 0-5 5z"/><path class="f" d="M60 78c-11-8-11-17-4-18 2 0 3 1 4 3 1-2 2-3 4-3 7 1 7 10-4 18z"/>`);
motif('Gift wrap', 'wrap gift ribbon present bow', html`${shade}<rect class="a" x="30" y="56" width="60" height="40" rx="3"/><rect class="b" x="25" y="44" width="70" height="16" rx="3"/><path class="c" d="M54 44h12v52H54z"/><path class="f" d="M60 44c-24 1-24-22-9-19 6 1 9 11 9 19 0-8 3-18 9-19 15-3 15 20-9 19z"/>`);
motif('Umbrellas', 'umbrella parasol', html`<path class="s" d="M60 20v70a9 9 0 0 1-18 0"/><path class="a" d="M18 66a42 42 0 0 1 84 0c-6-7-15-7-21 0-6-7-15-7-21 0-6-7-15-7-21 0-6-7-15-7-21 0z"/><path class="c" d="M60 24c-12 8-19 22-21 42 6-7 15-7 21 0 6-7 15-7 21 0-2-20-9-34-21-42z"/>`);
motif('Jewellery', 'necklace ring bracelet earring jewellery brooch charm bead bangle', html`<path class="s" d="M28 24c0 44 64 44 64 0"/><g class="c"><circle cx="31" cy="38" r="4"/><circle cx="40" cy="49" r="4"/><circle cx="80" cy="49" r="4"/><circle cx="89" cy="38" r="4"/></g><path class="a" d="M42 72l9-11h18l9 11-18 24z"/><path class="f" d="M51 61h18l-9 11zM42 72h36l-18 24z" opacity=".55"/>`);
motif('Cushions', 'cushion pillow beanbag', html`<path class="a" d="M24 34c14 5 58 5 72 0-5 15-5 37 0 52-14-5-58-5-72 0 5-15 5-37 0-52z"/><path class="c" d="M46 37h8v46h-8zM66 37h8v46h-8z"/><circle class="b" cx="60" cy="60" r="5"/>`);
motif('Mats and textiles', 'doormat mat rug towel napkin apron blanket tablecloth flannel cloth throw cover curtain cosy placemat doily doilies tissue', html`<path class="s" d="M20 46h-6M20 56h-6M20 66h-6M20 76h-6M100 46h6M100 56h6M100 66h6M100 76h6"/><rect class="a" x="20" y="38" width="80" height="46" rx="3"/><path class="c" d="M30 38h7v46h-7zM83 38h7v46h-7z"/><path class="f" d="M60 46l15 15-15 15-15-15z"/>`);
motif('Toys and games', 'game toy block puzzle domino doll dollhouse car train robot snap marbles skittles jigsaw helicopter glider ball', html`${shade}<rect class="a" x="26" y="60" width="33" height="36" rx="4"/><rect class="b" x="62" y="60" width="33" height="36" rx="4"/><rect class="f" x="44" y="23" width="33" height="36" rx="4"/><circle class="c" cx="42" cy="78" r="8"/><path class="c" d="M78 69l9 17H69z"/><rect class="c" x="53" y="34" width="15" height="15" rx="2"/>`);
motif('Notebooks', 'notebook book journal album diary sketchbook calendar pad', html`<path class="b" d="M32 26h10v70H32a4 4 0 0 1-4-4V30a4 4 0 0 1 4-4z"/><path class="a" d="M40 26h46a5 5 0 0 1 5 5v60a5 5 0 0 1-5 5H40z"/><rect class="c" x="51" y="40" width="29" height="18" rx="3"/><path class="f" d="M74 70h8v26l-4-5-4 5z"/>`);
motif('Pens and paints', 'pencil pen crayon paint chalk eraser stencil', html`<g transform="rotate(14 60 60)"><path class="a" d="M30 44h15v52H30z"/><path class="c" d="M30 44l7.5-20L45 44z"/><path class="b" d="M35 32l2.5-8 2.5 8z"/></g><path class="f" d="M53 42h15v54H53z"/><path class="c" d="M53 42l7.5-20L68 42z"/><path class="b" d="M58 30l2.5-8 2.5 8z"/><g transform="rotate(-14 60 60)"><path class="b" d="M75 44h15v52H75z"/><path class="c" d="M75 44l7.5-20L90 44z"/></g>`);
motif('Cutlery', 'cutlery spoon fork knife whisk spatula', html`<path class="t" d="M42 60v36M76 62v34"/><path class="b" d="M30 24h4v20h6V24h4v20h6V24h4v26a12 12 0 0 1-24 0z"/><ellipse class="a" cx="76" cy="43" rx="13" ry="20"/>`);
motif('Hooks and hangers', 'hook hanger peg rack', html`<rect class="a" x="18" y="36" width="84" height="22" rx="6"/><path class="s" d="M32 58v17a7 7 0 0 0 14 0v-2M54 58v17a7 7 0 0 0 14 0v-2M76 58v17a7 7 0 0 0 14 0v-2"/><g class="f"><circle cx="32" cy="47" r="4"/><circle cx="54" cy="47" r="4"/><circle cx="76" cy="47" r="4"/></g>`);
motif('Drawers and shelves', 'drawer cabinet shelf cupboard stool chair table bench', html`<path class="s" d="M36 92v6M84 92v6"/><rect class="a" x="28" y="26" width="64" height="66" rx="4"/><rect class="c" x="35" y="33" width="50" height="23" rx="2"/><rect class="c" x="35" y="62" width="50" height="23" rx="2"/><circle class="b" cx="60" cy="44" r="4"/><circle class="b" cx="60" cy="73" r="4"/>`);
motif('Baskets', 'basket hamper trug', html`${shade}<path class="s" d="M34 56a26 30 0 0 1 52 0"/><path class="a" d="M24 56h72l-9 40H33z"/><path class="c" d="M27 66h66l-2 8H29zM31 82h58l-2 8H33z"/>`, false, 'clay');
motif('Popcorn', 'popcorn', html`${shade}<path class="a" d="M34 44h52l-8 52H42z"/><path class="c" d="M47 44h9l1 52h-7zM64 44h9l-3 52h-7z"/><g class="f"><circle cx="42" cy="38" r="9"/><circle cx="60" cy="33" r="11"/><circle cx="78" cy="38" r="9"/></g>`, false, 'rose');
motif('Music', 'harmonica music record guitar piano', html`<path class="s" d="M48 84V36l34-8v48"/><path class="b" d="M48 36l34-8v12l-34 8z"/><ellipse class="a" cx="39" cy="85" rx="12" ry="9"/><ellipse class="f" cx="73" cy="77" rx="12" ry="9"/>`);
motif('Houses', 'house birdhouse cottage shed', html`${shade}<path class="a" d="M32 54h56v42H32z"/><path class="b" d="M60 22l40 36H20z"/><rect class="c" x="52" y="70" width="16" height="26" rx="2"/><circle class="f" cx="60" cy="48" r="7"/>`, true);
motif('Trees', 'tree', html`${shade}<rect class="b" x="55" y="80" width="10" height="16"/><path class="a" d="M60 22l22 28H38zM60 36l28 28H32zM60 52l34 32H26z"/><circle class="f" cx="60" cy="46" r="4"/><circle class="c" cx="48" cy="62" r="4"/><circle class="f" cx="72" cy="72" r="4"/>`, true, 'leaf');
motif('Christmas', 'christmas bauble ornament decoration', html`<path class="s" d="M60 14v18"/><rect class="b" x="53" y="30" width="14" height="10" rx="2"/><circle class="a" cx="60" cy="66" r="29"/><path class="c" d="M32 58h56a29 29 0 0 1 0 16H32a29 29 0 0 1 0-16z"/><g class="f"><circle cx="44" cy="66" r="4"/><circle cx="60" cy="66" r="4"/><circle cx="76" cy="66" r="4"/></g>`, true);
motif('Hearts', 'heart sweetheart love', html`<path class="a" d="M60 96C30 76 22 60 25 46c3-15 21-18 29-9 3 3 5 6 6 9 1-3 3-6 6-9 8-9 26-6 29 9 3 14-5 30-35 50z"/><path class="l" d="M36 55c-2-8 3-14 10-13"/>`, true, 'rose');
motif('Birds', 'bird birdie birdy owl robin duck hen chick swallow', html`<path class="a" d="M22 78c-2-24 14-40 36-36 3-17 29-19 33 1l11 5-11 4c1 26-17 42-39 42-10 0-18-2-23-7l-13 6z"/><path class="b" d="M40 66c12-8 28-4 30 8-12 10-28 6-30-8z"/><circle class="g" cx="77" cy="43" r="3.5"/>`, true);
motif('Flowers', 'flower rose daisy garden sunflower daffodil tulip blossom petal wreath plant', html`<path class="s" d="M60 60v38"/><path class="b" d="M60 88c-16 2-22-6-22-14 14 0 20 4 22 14zM60 82c2-10 8-14 22-14 0 8-6 16-22 14z"/><g class="a"><circle cx="60" cy="28" r="11"/><circle cx="77" cy="38" r="11"/><circle cx="77" cy="56" r="11"/><circle cx="60" cy="65" r="11"/><circle cx="43" cy="56" r="11"/><circle cx="43" cy="38" r="11"/></g><circle class="f" cx="60" cy="47" r="11"/>`, true);
motif('Stars', 'star', html`<path class="a" d="M60 20l12 27 29 3-22 19 7 29-26-15-26 15 7-29-22-19 29-3z"/><circle class="c" cx="60" cy="62" r="9"/>`, true, 'sun');
motif('Animals', 'rabbit bunny cat dog dinosaur elephant animal bear scottie', html`<ellipse class="a" cx="46" cy="36" rx="9" ry="20"/><ellipse class="a" cx="74" cy="36" rx="9" ry="20"/><ellipse class="c" cx="46" cy="38" rx="4" ry="13"/><ellipse class="c" cx="74" cy="38" rx="4" ry="13"/><circle class="a" cx="60" cy="72" r="27"/><circle class="b" cx="50" cy="68" r="3.5"/><circle class="b" cx="70" cy="68" r="3.5"/><ellipse class="f" cx="60" cy="77" rx="5" ry="3.5"/>`, true, 'clay');
