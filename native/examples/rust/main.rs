// The library from Rust, without bindings of anybody's: client MODEL.lc2 prints the answer to a grey picture.
//
//     rustc -O main.rs -L ~/.local/lib -o client
use std::ffi::{c_char, c_float, c_int, c_void, CStr, CString};

#[repr(C)]
struct Error {
    status: c_int,
    text: [c_char; 500],
}

#[repr(C)]
struct Info {
    size: c_int,
    classes: c_int,
    labels: *const *const c_char,
    alignment: *const c_char,
    precision: *const c_char,
    instructions: *const c_char,
    operations: c_int,
    threads: c_int,
}

#[link(name = "lc2fer")]
extern "C" {
    fn lc2fer_open(path: *const c_char, options: *const c_void, error: *mut Error) -> *mut c_void;
    fn lc2fer_close(model: *mut c_void);
    fn lc2fer_describe(model: *const c_void) -> *const Info;
    fn lc2fer_run_rgb(
        model: *const c_void, pixels: *const u8, line: isize, pixel: isize, colour: isize, logits: *mut c_float,
    ) -> c_int;
}

struct Model(*mut c_void);

impl Model {
    fn open(path: &str) -> Result<Model, String> {
        let path = CString::new(path).map_err(|error| error.to_string())?;
        let mut error = Error { status: 0, text: [0; 500] };
        let model = unsafe { lc2fer_open(path.as_ptr(), std::ptr::null(), &mut error) };
        if model.is_null() {
            return Err(unsafe { CStr::from_ptr(error.text.as_ptr()) }.to_string_lossy().into_owned());
        }
        Ok(Model(model))
    }

    fn info(&self) -> &Info {
        unsafe { &*lc2fer_describe(self.0) }
    }

    fn label(&self, class: usize) -> String {
        unsafe { CStr::from_ptr(*self.info().labels.add(class)) }.to_string_lossy().into_owned()
    }

    /// Logits of packed RGB, size x size pixels.
    fn run(&self, pixels: &[u8]) -> Vec<f32> {
        let size = self.info().size as usize;
        assert_eq!(pixels.len(), size * size * 3);
        let mut logits = vec![0.0; self.info().classes as usize];
        let status =
            unsafe { lc2fer_run_rgb(self.0, pixels.as_ptr(), 3 * size as isize, 3, 1, logits.as_mut_ptr()) };
        assert_eq!(status, 0);
        logits
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { lc2fer_close(self.0) }
    }
}

fn main() {
    let path = std::env::args().nth(1).unwrap_or_default();
    let model = Model::open(&path).unwrap_or_else(|why| {
        eprintln!("{why}");
        std::process::exit(2);
    });
    let size = model.info().size as usize;
    let logits = model.run(&vec![128; size * size * 3]);
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    println!("{} {:.5}", model.label(best), logits[best]);
}
