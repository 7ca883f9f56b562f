//! Input that was damaged, or written to do harm: refused with a reason, quickly, in little memory.

use std::path::Path;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tesla_data::source::{Input, Source, open_numpy, open_pickle};

/// The reason why the bytes are refused, or `None` when they are a table.
fn refused(open: &str, bytes: &[u8]) -> Option<String> {
    let start = Instant::now();
    let input = Input::from_bytes("x", bytes);
    let outcome = match open {
        "pickle" => open_pickle(input),
        _ => open_numpy(input),
    };
    // Generous: what is refused here takes microseconds, what it fends off takes hours.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    match outcome {
        Ok(source) => {
            let schema = source.schema().unwrap();
            let rows = source.scan(&schema).unwrap();
            rows.for_each(|scanned| drop(scanned.unwrap()));
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

fn check(bytes: &[u8], reason: &str) {
    let found =
        refused("pickle", bytes).unwrap_or_else(|| panic!("read: {}", bytes.escape_ascii()));
    assert!(found.contains(reason), "{}: {found}", bytes[..bytes.len().min(80)].escape_ascii());
}

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pickle/fixtures");
    let files = std::fs::read_dir(folder).unwrap().flatten();
    let mut files: Vec<_> = files
        .map(|f| (f.file_name().into_string().unwrap(), std::fs::read(f.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn kind(name: &str) -> &'static str {
    if name.ends_with(".pkl") {
        "pickle"
    } else {
        "numpy"
    }
}

#[test]
fn no_opcode_reaches_a_function() {
    let calls: [&[u8]; 10] = [
        b"cposix\nsystem\n(S'echo'\ntR.",
        b"cos\nsystem\n(S'echo'\ntR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04echo\x85R.",
        b"(S'echo'\nios\nsystem\n.",
        b"(cos\nsystem\nS'echo'\no.",
        b"\x80\x02cos\nsystem\nX\x04\0\0\0echo\x85\x81.",
        b"\x80\x04cos\nsystem\nX\x04\0\0\0echo\x85}\x92.",
        b"\x80\x02csubprocess\nPopen\n)R}b.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        b"c__builtin__\ngetattr\n(cos\nsystem\nS'x'\ntR.",
    ];
    for bytes in calls {
        check(bytes, "nothing is ever run: write the data again with");
    }
    check(b"cos\nsystem\n.", "calls for `os.system`,");
    check(
        b"cnumpy.testing._private.utils\nrunstring\n.",
        "`numpy.testing._private.utils.runstring`",
    );
    check(b"cpandas.io.pickle\nread_pickle\n.", "`pandas.io.pickle.read_pickle`");
    // The one use of `getattr` that is known does not open the door to others.
    check(b"cbuiltins\ngetattr\n(cbuiltins\nset\nS'pop'\ntR.", "`builtins.getattr`");
    check(b"cbuiltins\ngetattr\n(czoneinfo\nZoneInfo\nS'x'\ntR.", "`builtins.getattr`");
    // What is called must come from the list, not from the data.
    check(b"(S'os'\nS'system'\nlS'echo'\n\x85R.", "which is not a constructor");
    check(b"ccollections\nOrderedDict\n)RK\x01\x85R.", "which is not a constructor");
    check(
        b"ccopyreg\n_reconstructor\n(ccopyreg\n_reconstructor\ncbuiltins\nobject\nNtR.",
        "does not take",
    );
    check(
        b"ccopyreg\n_reconstructor\n(ccopyreg\n_reconstructor\ncbuiltins\nset\nNtR.",
        "does not take",
    );
}

#[test]
fn what_lies_outside_the_file_is_refused() {
    check(b"P1\n.", "persistent id");
    check(b"K\x01Q.", "persistent id");
    check(b"\x82\x01.", "extension registry");
    check(b"\x83\x01\0.", "extension registry");
    check(b"\x84\x01\0\0\0.", "extension registry");
    check(b"\x80\x05\x97.", "out-of-band");
    check(b"\x80\x05C\x00\x98.", "out-of-band");
    check(b"\x80\x06N.", "protocol 6");
    check(b"]q\0.]q\0.", "more bytes after its first pickle");
    check(b"hello, world\n", "is not a valid pickle");
    check(b"\xff\xd8\xff\xe0", "is not a pickle");
    check(b"", "is truncated");
}

#[test]
fn lengths_are_checked_before_anything_is_allocated() {
    let claims: [&[u8]; 9] = [
        b"\x80\x04\x8e\0\0\0\0\0\0\0\x10.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"B\xff\xff\xff\xff.",
        b"T\xff\xff\xff\xff.",
        b"X\xff\xff\xff\xff.",
        b"\x8b\xff\xff\xff\xff.",
        b"C\xff.",
    ];
    for bytes in claims {
        check(bytes, "is truncated or damaged");
    }
    // A memo index is a key, not a size.
    check(b"Nr\xff\xff\xff\xff.", "holds `None`");
    check(b"Np18446744073709551615\n.", "holds `None`");
    check(b"j\xff\xff\xff\xff.", "never wrote");
}

#[test]
fn nesting_is_bounded_without_recursion() {
    let n = 100_000;
    let lists = [vec![b']'; n], vec![b'a'; n - 1], vec![b'.']].concat();
    check(&lists, "more than 100 deep");
    check(&[vec![b'('; n], vec![b'l'; n], vec![b'.']].concat(), "more than 100 deep");
    check(&[b")".to_vec(), vec![0x85; n], vec![b'.']].concat(), "more than 100 deep");
    // A chain whose links are all reached from outside: no path to any of them is long.
    let mut chain = b"]\x94".to_vec();
    for _ in 0..300 {
        chain.extend(b"\x85\x94");
    }
    chain.extend(b"0(");
    for link in 0..=300u32 {
        chain.push(b'j');
        chain.extend(link.to_le_bytes());
    }
    chain.extend(b"l.");
    check(&chain, "more than 100 deep");
    for own in [&b"]q\0h\0a."[..], b"}q\0K\x01h\0s.", b"]q\0h\0\x85a.", b"\x8fq\0(h\0\x90."] {
        check(own, "contains itself");
    }
}

/// `body`, with the memo entry 0 holding `first`.
fn after(first: &[u8], body: &[u8]) -> Vec<u8> {
    [first, b"q\x000", body].concat()
}

fn long_text(n: u32) -> Vec<u8> {
    [b"X", &n.to_le_bytes()[..], &vec![b'a'; n as usize]].concat()
}

#[test]
fn references_do_not_multiply() {
    let bounded = "repeats its values so often";
    // 2^40 values: pairs of one pair of one pair.
    let laughs = [&b"N"[..], &b"2\x86".repeat(40), b"."].concat();
    check(&laughs, "expected a data frame");
    // A text of 1 MB in each of 100,000 rows.
    let rows = [b"(".to_vec(), b"h\0".repeat(100_000), b"l.".to_vec()].concat();
    check(&after(&long_text(1 << 20), &rows), bounded);
    // A row of 30,000 values, 30,000 times.
    let row = [b"(".to_vec(), b"N".repeat(30_000), b"t".to_vec()].concat();
    let rows = [b"(".to_vec(), b"h\0".repeat(30_000), b"l.".to_vec()].concat();
    check(&after(&row, &rows), bounded);
    // A text encoded again and again.
    let encoded = b"c_codecs\nencode\nh\0\x85R0".repeat(100_000);
    check(&after(&long_text(1 << 20), &[encoded, b"N.".to_vec()].concat()), bounded);
    // A set of a long list, again and again.
    let list = [b"(".to_vec(), b"N".repeat(1 << 20), b"l".to_vec()].concat();
    let sets = b"cbuiltins\nset\nh\0\x85R0".repeat(20_000);
    check(&after(&list, &[sets, b"N.".to_vec()].concat()), bounded);
    // A thousand keys in a thousand dicts, each key once.
    let mut dicts = b"(".to_vec();
    for i in 0..30_000u32 {
        dicts.extend(b"}J");
        dicts.extend(i.to_le_bytes());
        dicts.extend(b"Ns");
    }
    dicts.extend(b"l.");
    check(&dicts, bounded);
}

/// An array of bytes as protocol 5 writes it, of a shape and data that need not agree.
fn frombuffer(dtype: &str, shape: &[u8], data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_le_bytes();
    let dtype = format!(
        "cnumpy\ndtype\n(S'{dtype}'\nI00\nI01\ntR(K\x03S'|'\nNNNJ\u{1}\0\0\0J\u{1}\0\0\0K\0tb"
    );
    [
        b"cnumpy.core.numeric\n_frombuffer\n(B",
        &length[..],
        data,
        dtype.as_bytes(),
        shape,
        b"S'C'\ntR",
    ]
    .concat()
}

#[test]
fn arrays_cannot_lie() {
    let array = |dtype: &str, shape: &[u8], data: &[u8]| {
        [&frombuffer(dtype, shape, data)[..], b"."].concat()
    };
    assert_eq!(refused("pickle", &array("u1", b"(K\x02K\x02t", &[1, 2, 3, 4])), None);
    check(&array("u1", b"(K\x02K\x03t", &[0; 5]), "is damaged");
    check(&array("u1", b"(L99999999999L\nL99999999999L\nt", &[]), "expected one that fits");
    check(&array("u1", b"(K\x00L99999999999L\nt", &[]), "expected one that fits");
    check(&array("u1", b"(K\x00J\x00\x00\x00\x40t", &[]), "columns: expected fewer");
    check(&array("u1", b"(J\x00\x00\x00\x40K\x00t", &[]), "has no columns");
    check(&array("S0", b"(J\x00\x00\x00\x40t", &[]), "no size");
    check(&array("u1", b"(J\xff\xff\xff\xfft", &[]), "is damaged");
    check(&array("O8", b"(K\x01t", &[0; 8]), "is damaged");
    check(&array("c16", b"(K\x01t", &[0; 16]), "has an array of type");
    // One array of 1 MB under 10,000 keys.
    let shared = frombuffer("u1", b"(J\x00\x00\x10\x00t", &vec![0; 1 << 20]);
    let mut dict = b"}(".to_vec();
    for i in 0..10_000u32 {
        dict.push(b'J');
        dict.extend(i.to_le_bytes());
        dict.extend(b"h\0");
    }
    dict.extend(b"u.");
    check(&after(&shared, &dict), "repeats its values so often");
    // An index that counts to 2^62 where names of columns are expected.
    let range = b"cpandas.core.indexes.base\n_new_Index\n(cpandas\nRangeIndex\n}(S'start'\nK\0S'stop'\nL4611686018427387904L\nS'step'\nK\x01utR.";
    check(range, "more than 100000 labels");
    let still = b"cpandas.core.indexes.base\n_new_Index\n(cpandas\nRangeIndex\n}(S'start'\nK\0S'stop'\nK\x09S'step'\nK\0utR.";
    assert_eq!(refused("pickle", still), None);
}

#[test]
fn texts_of_arrow_cannot_lie() {
    let series = |length: &str, offset: &str, validity: &[u8], offsets: &[u8], texts: &[u8]| {
        let text = |bytes: &[u8]| {
            let length = (bytes.len() as u32).to_le_bytes();
            [b"cpyarrow.lib\npy_buffer\n(B", &length[..], bytes, b"tR"].concat()
        };
        let array = format!("{length}I0\n{offset}");
        [
            b"cpandas.core.indexes.base\n_new_Index\n(cpandas\nIndex\n}S'data'\ncpandas.arrays\nArrowStringArray\n)R}S'_pa_array'\ncpyarrow.lib\n_restore_array\n((cpyarrow.lib\ntype_for_alias\n(S'string'\ntR",
            array.as_bytes(),
            b"(",
            &text(validity),
            &text(offsets),
            &text(texts),
            b"l(lNttRsbstR.",
        ]
        .concat()
    };
    let offsets =
        |numbers: &[i32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let three = offsets(&[0, 1, 1, 3]);
    assert_eq!(refused("pickle", &series("I3\n", "I0\n", &[7], &three, b"abc")), None);
    assert_eq!(refused("pickle", &series("I2\n", "I1\n", &[7], &three, b"abc")), None);
    let damaged = "is damaged: a column of texts";
    for (length, offset) in [
        ("I4\n", "I0\n"),
        ("I3\n", "I1\n"),
        ("I-1\n", "I0\n"),
        ("I1\n", "I-1\n"),
        ("L9223372036854775807L\n", "L9223372036854775807L\n"),
        ("L9223372036854775807L\n", "I0\n"),
        ("I1\n", "L9223372036854775807L\n"),
    ] {
        check(&series(length, offset, &[0xff; 9], &three, b"abc"), damaged);
    }
    // Too few bits, and offsets that end late, fall, are negative, or cut a character.
    check(&series("I3\n", "I0\n", &[], &three, b"abc"), damaged);
    for numbers in [[0, 1, 1, 4], [0, 2, 1, 3], [-1, 1, 1, 3], [0, 1, 2, i32::MIN]] {
        check(&series("I3\n", "I0\n", &[7], &offsets(&numbers), b"abc"), damaged);
    }
    check(&series("I3\n", "I0\n", &[7], &three, "éab".as_bytes()), damaged);
    // Rows that are all the same megabyte.
    let same: Vec<i32> = (0..100_000).map(|i| if i % 2 == 0 { 0 } else { 1 << 20 }).collect();
    let validity = vec![0x55; 12_500];
    let bytes = series("I99999\n", "I0\n", &validity, &offsets(&same), &vec![b'a'; 1 << 20]);
    check(&bytes, "repeats its values so often");
}

#[test]
fn npy_headers_cannot_lie() {
    let npy = |header: &str, data: &[u8]| {
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), data].concat()
    };
    let header = |descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n")
    };
    let read =
        |descr: &str, shape: &str, data: &[u8]| refused("numpy", &npy(&header(descr, shape), data));
    assert_eq!(read("'|u1'", "(2,)", &[1, 2]), None);
    for (descr, shape, reason) in [
        ("'|u1'", "(3,)", "is truncated"),
        ("'|u1'", "(99999999999, 99999999999)", "expected one that fits"),
        ("'<f8'", "(4611686018427387904,)", "expected one that fits"),
        ("'<f8'", "(-1,)", "is not a `.npy` file"),
        ("__import__('os').system('echo')", "(2,)", "of its header is not the dict"),
        ("[('a', 'u1', (2,))]", "(1,)", "arrays inside"),
        ("[('', '|V4294967295'), ('a', 'u1')]", "(1,)", "is truncated"),
        ("'|O'", "(2,)", "is not a pickle"),
    ] {
        let found = read(descr, shape, &[1, 2]).unwrap();
        assert!(found.contains(reason), "{descr} {shape}: {found}");
    }
    let system = npy(&header("'|O'", "(1,)"), b"cos\nsystem\n(S'echo'\ntR.");
    assert!(refused("numpy", &system).unwrap().contains("calls for `os.system`"));
}

#[test]
fn a_zip_bomb_is_refused_before_it_is_unpacked() {
    use std::io::Write;
    // A member that states 8 GiB: the central directory is patched, as bombs do.
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("../../a.npy", options).unwrap();
    zip.write_all(&vec![0; 1 << 16]).unwrap();
    let honest = zip.finish().unwrap().into_inner();
    let found = refused("numpy", &honest).unwrap();
    assert!(found.contains("is not a `.npy` file"), "{found}");
    let mut lying = honest.clone();
    let entry = lying.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    lying[entry + 24..entry + 28].copy_from_slice(&0xffff_fffe_u32.to_le_bytes());
    let found = refused("numpy", &lying).unwrap();
    assert!(found.contains("as a bomb does"), "{found}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for (name, bytes) in fixtures() {
        // Every byte of what is short, and every byte but of the long middle of what is not.
        let step = if bytes.len() > 3000 { 7 } else { 1 };
        for cut in (0..bytes.len()).step_by(step) {
            let found = refused(kind(&name), &bytes[..cut]);
            assert!(found.is_some(), "{name} cut at {cut}");
        }
    }
}

/// Opcodes and arguments that go together often enough to get somewhere.
const WORDS: [&[u8]; 64] = [
    b"(",
    b".",
    b"0",
    b"1",
    b"2",
    b"N",
    b"\x88",
    b"\x89",
    b"K\x00",
    b"K\x01",
    b"K\x02",
    b"K\x05",
    b"M\x10\x27",
    b"J\xff\xff\xff\xff",
    b"\x8a\x01\xff",
    b"G\x3f\xf0\0\0\0\0\0\0",
    b"I5\n",
    b"L7L\n",
    b"F1.5\n",
    b"S'data'\n",
    b"Vlabel\n",
    b"U\x01y",
    b"C\x04abcd",
    b"X\x01\0\0\0x",
    b"\x8c\x04name",
    b"]",
    b")",
    b"}",
    b"\x8f",
    b"l",
    b"t",
    b"d",
    b"a",
    b"e",
    b"s",
    b"u",
    b"\x85",
    b"\x86",
    b"\x87",
    b"\x90",
    b"\x91",
    b"q\x00",
    b"h\x00",
    b"q\x01",
    b"h\x01",
    b"\x94",
    b"R",
    b"\x81",
    b"b",
    b"o",
    b"cnumpy\nndarray\n",
    b"cnumpy\ndtype\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy.core.multiarray\nscalar\n",
    b"cnumpy.core.numeric\n_frombuffer\n",
    b"cpandas\nDataFrame\n",
    b"cpandas.core.internals.managers\nBlockManager\n",
    b"cpandas._libs.internals\n_unpickle_block\n",
    b"cpandas.core.indexes.base\n_new_Index\n",
    b"cdatetime\ndatetime\n",
    b"cpandas\nArrowStringArray\n",
    b"cpyarrow.lib\n_restore_array\n",
    b"cpyarrow.lib\ntype_for_alias\n",
    b"cpyarrow.lib\npy_buffer\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        refused("pickle", &bytes);
        refused("numpy", &bytes);
        refused("numpy", &[b"\x93NUMPY\x01\0", &bytes[..]].concat());
    }

    #[test]
    fn no_opcodes_make_it_panic(words in proptest::collection::vec(0..WORDS.len(), 0..80)) {
        let mut bytes: Vec<u8> = words.into_iter().flat_map(|w| WORDS[w]).copied().collect();
        bytes.push(b'.');
        refused("pickle", &bytes);
    }

    #[test]
    fn no_damage_makes_it_panic(
        file in any::<prop::sample::Index>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
    ) {
        let files = fixtures();
        let (name, mut bytes) = file.get(&files).clone();
        for (place, byte, kind) in damage {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        refused(kind(&name), &bytes);
    }
}
